"""A dog from numbers of the MIT Mini Cheetah follows a velocity command."""
