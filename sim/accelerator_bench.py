"""cocotb test of a whole accelerator: every image against the integer model's logits.

Runs in the simulator's process, so it reads its job from a file and imports no torch.
"""

import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import cocotb

from hw.frames import Status, parse_cycles, parse_words, status_text

from .harness import Harness


@dataclass(frozen=True)
class Job:
    """What to run.

    Members
    -------
    regime : who stalls
    load : frames that load the checkpoint
    images : for each image, its frames: pixels, RUN, READ of logits, of counters and of work
    logits : for each image, the integer model's logits
    names : layers, in order of their counters
    counters : whether a frame of an image reads counters
    work : names of what the last frame reads, counters of tiles and experts; may be none
    reset_after : cycles after which the first image is cut by a reset, then run again; 0 for none
    result : file that the bench writes after every image, one JSON line each
    """

    regime: str
    load: list[bytes]
    images: list[list[bytes]]
    logits: list[list[int]]
    names: list[str]
    counters: bool
    work: list[str]
    reset_after: int
    result: str


def signed(word: int) -> int:
    """Read a 32-bit word as two's complement."""
    return word - (1 << 32) if word >> 31 else word


def check_replies(replies: list[tuple[int, bytes]], what: str) -> None:
    """Fail if a frame was refused."""
    for index, (status, _) in enumerate(replies):
        assert status == Status.OK, f"{what}, frame {index}: {status_text(status)}"


@cocotb.test()
async def classifies(dut: object) -> None:
    """Logits of every image equal those of the integer model."""
    job: Job = pickle.loads(Path(os.environ["JOB"]).read_bytes())
    harness = Harness(dut, regime=job.regime)
    await harness.reset()
    check_replies(await harness.exchange(job.load), "checkpoint")
    if job.reset_after:
        assert await harness.interrupt(job.images[0], job.reset_after), "the reset came too late"
        # A reset leaves memories as they are, so the checkpoint need not be loaded again.
    with Path(job.result).open("w") as out:
        for index, (frames, wanted) in enumerate(zip(job.images, job.logits, strict=True)):
            started = perf_counter()
            replies = await harness.exchange(frames)
            seconds = perf_counter() - started
            check_replies(replies, f"image {index}")
            # What is not read is not there: RUN and logits are, before all else.
            run, logits, *others = replies[-2 - job.counters - bool(job.work) :]
            got = [signed(word) for word in parse_words(logits[1], len(wanted))]
            line = {
                "image": index,
                "logits": got,
                "equal": got == wanted,
                "cycles": parse_cycles(run[1]),
                "simulated": harness.cycles,
                "seconds": seconds,
            }
            if job.work:
                words = parse_words(others.pop()[1], len(job.work))
                line["work"] = dict(zip(job.work, words, strict=True))
            if job.counters:
                words = parse_words(others.pop()[1], 2 * len(job.names))
                pairs = zip(words[::2], words[1::2], strict=True)
                line["layers"] = dict(zip(job.names, pairs, strict=True))
            out.write(json.dumps(line) + "\n")
            out.flush()
