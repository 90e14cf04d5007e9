"""Ways to do the task, one file each.

A file has TITLE, as pages call it, ORDER, its place among the others, `applies(setting)`, which says why it cannot be
asked (empty where it can), and `prepare(setting)`, which gives what writes its conversations.
"""
