"""Training methods, one a file, named as `train.method` names them.

A file here has `build(job, watch, checkpoints)`, which loads the base model and gives one of TRL's trainers behind
`train.trainer.OurTrainer`. What the method's rows must be and how they become tokens is in `train/examples.py`.
"""
