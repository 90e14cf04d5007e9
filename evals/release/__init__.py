"""What leaves: the judged model in the forms that servers read, each loaded back and compared with what was judged."""
