"""What a draw of random numbers costs for many rows: `python benchmarks/draws.py`."""

import timeit

from motrix_gym.random_streams import RandomStreams, stream_keys

REPEATS = 50


def main() -> None:
    for num_rows in (1, 64, 2048, 8192):
        rng = RandomStreams(stream_keys(range(num_rows)))
        for size in (4, 20):
            seconds = min(timeit.repeat(lambda d=rng, k=size: d.uniform(size=k), number=1, repeat=REPEATS))
            print(f"{num_rows:5d} rows x {size:2d} numbers: {1e3 * seconds:6.3f} ms")


if __name__ == "__main__":
    main()
