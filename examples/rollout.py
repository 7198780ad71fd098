"""256 Go1 act at random for two seconds: how many fall, and what the last step earns them, by reward term."""

import gymnasium

envs = gymnasium.make_vec("motrix_gym:Motrix/Go1-v0", num_envs=256)
observations, infos = envs.reset(seed=0)
falls = 0
for _ in range(100):
    observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
    falls += terminated.sum()
print(falls, "falls;", {term: round(float(earned.mean()), 3) for term, earned in infos["reward_terms"].items()})
