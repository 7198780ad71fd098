"""Robot environments on MuJoCo as ordinary Gymnasium registrations; importing it registers every id.

>>> import gymnasium, motrix_gym
>>> env = gymnasium.make_vec("Motrix/CartPole-v0", num_envs=2)
>>> env.reset(seed=0)[0].shape
(2, 4)
"""

from motrix_gym.registration import register_all

register_all()
