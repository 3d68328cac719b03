"""Training: float epochs with batch norm, then epochs with the exported integers in the loop."""

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from .attention_ranges import attention_input_bits
from .checkpoint import Checkpoint, checkpoint_path, load_start
from .data import load_split
from .evaluate import integer_accuracy
from .export import export
from .files import whole_file
from .integer import IntegerModel
from .network import SpikingTransformer
from .neurons import guard_bits
from .ranges import checkpoint_widths
from .schedule import network_layers
from .spec import Preset, SpecError, Train, parse_preset

# Bits of the significand of float32, in which networks train.
FLOAT_BITS = 24
# With so many training images an epoch is long enough to compile the network first.
LARGE = 5_000


class Run:
    """A training run that can be stopped at any time and resumed at the last whole epoch.

    Parameters
    ----------
    preset : what to train, with a ``[train]`` section
    folder : where the state and the log are kept
    compiled : compile the network, which pays off after some minutes of training; None does so
        from :data:`LARGE` training images on
    limit : number of training images; as many as the preset says if None

    Members
    -------
    network : the network in training; folded after the last float epoch
    float_accuracy : test accuracy in percent before folding, None until then
    """

    def __init__(
        self,
        preset: Preset,
        folder: Path,
        *,
        compiled: bool | None = None,
        limit: int | None = None,
    ) -> None:
        if preset.train is None:
            raise SpecError(f"preset {preset.name} has no [train] section: cannot be trained")
        self.preset, self.settings, self.folder = preset, preset.train, folder
        self.compiled, self.limit = compiled, limit or preset.train.images or None
        self.float_accuracy: float | None = None
        self.epoch = 0
        self.lines: list[str] = []
        torch.manual_seed(self.settings.seed)
        self.network = SpikingTransformer(preset)
        if self.settings.start is not None:
            start_from(self.network, load_start(preset))

    @property
    def state_path(self) -> Path:
        """File that holds the run between epochs."""
        return self.folder / "train-state.pt"

    def train(self) -> SpikingTransformer:
        """Train to the end, from the last saved epoch if there is one of the same preset.

        Raises
        ------
        SpecError
            If images, batch or the saved epoch do not fit the preset, or training diverges; what
            was saved is then as it was.
        """
        settings = self.settings
        images, labels = (torch.from_numpy(a.copy()) for a in load_split(self.preset, "train"))
        images, labels = images[: self.limit], labels[: self.limit]
        if settings.batch > len(images):
            raise SpecError(
                f"train.batch is {settings.batch}: must be at most {len(images)}, the images"
            )
        _check_batch_norm(self.preset)
        # Read only so that test images which do not fit are refused before hours of training.
        load_split(self.preset, "test")
        saved = self._load()
        total = settings.epochs + settings.quant_epochs
        for phase, first, count, rate in (
            ("float", 0, settings.epochs, settings.learning_rate),
            ("quant", settings.epochs, settings.quant_epochs, settings.quant_learning_rate),
        ):
            if self.epoch >= first + count:
                continue
            if phase == "quant" and not self.network.head.folded:
                self.network.fold()
            steps = count * (len(images) // settings.batch)
            optimiser = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=1e-4)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimiser, rate, total_steps=steps + 1, pct_start=0.15
            )
            if saved is not None:
                with self._whole_state():
                    optimiser.load_state_dict(saved["optimiser"])
                    schedule.load_state_dict(saved["schedule"])
                saved = None
            forward = self._forward_function(len(images))
            while self.epoch < first + count:
                title = f"{phase} epoch {self.epoch + 1}/{total}"
                self._epoch(title, images, labels, forward, optimiser, schedule)
                self.epoch += 1
                if self.epoch == settings.epochs:
                    self.float_accuracy = self.test_accuracy()
                    self.note(f"float test accuracy {self.float_accuracy:.2f} %")
                last = self.epoch == first + count
                self._save(None if last else optimiser, schedule)
        return self.network

    def test_accuracy(self) -> float:
        """Accuracy on the held-out split in percent, in the network's present form."""
        images, labels = load_split(self.preset, "test")
        self.network.eval()
        right = 0
        with torch.no_grad():
            for start in range(0, len(images), 500):
                batch = torch.from_numpy(images[start : start + 500].astype(np.float32))
                answer = self.network(batch).argmax(1).numpy()
                right += int((answer == labels[start : start + 500]).sum())
        self.network.train()
        return 100.0 * right / len(labels)

    def _forward_function(self, images: int):
        def forward(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            logits = self.network(pixels)
            balance = torch.stack(self.network.balance or [logits.new_zeros(())])
            return logits, torch.stack(self.network.activity), balance

        compiled = images >= LARGE if self.compiled is None else self.compiled
        return torch.compile(forward, dynamic=False) if compiled else forward

    def _epoch(self, title, images, labels, forward, optimiser, schedule) -> None:
        settings = self.settings
        right = seen = 0
        density = loads = torch.zeros(())
        # Order and augmentation depend on seed and epoch alone, so a resumed run is the same run.
        random = torch.Generator().manual_seed(settings.seed * 1000 + self.epoch)
        batches = list(_batches(len(images), settings.batch, random))
        with tqdm(batches, desc=title, unit="batch", mininterval=5) as bar:
            for index in bar:
                pixels = augment(images[index].float(), settings, random)
                logits, activity, balance = forward(pixels)
                loss = functional.cross_entropy(logits, labels[index])
                loss = loss + settings.firing_penalty * activity.mean()
                loss = loss + settings.balance_penalty * balance.mean()
                if not loss.isfinite():
                    raise self._diverged(title, f"loss is {loss.item()}")
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
                optimiser.step()
                schedule.step()
                right += int((logits.argmax(1) == labels[index]).sum())
                seen += len(index)
                density, loads = activity.detach(), balance.detach()
                bar.set_postfix(acc=f"{100 * right / seen:.1f}", density=f"{density.mean():.3f}")
        for name, values in self.network.state_dict().items():
            if torch.is_tensor(values) and not values.isfinite().all():
                raise self._diverged(title, f"{name} is not finite after it")
        note = f"{title}: train accuracy {100 * right / seen:.2f} %, bundles {_listed(density)}"
        if self.preset.network.moe is not None:
            note += f", balance {_listed(loads)}"
        self.note(note)

    def _diverged(self, title: str, sign: str) -> SpecError:
        key = "quant_learning_rate" if self.network.head.folded else "learning_rate"
        rate = getattr(self.settings, key)
        return SpecError(f"{title}: {sign}: training diverged; try a train.{key} below {rate}")

    def note(self, line: str) -> None:
        """Print a line and keep it for the log."""
        tqdm.write(line)
        self.lines.append(line)

    def _save(self, optimiser, schedule) -> None:
        state = {
            "preset": self.preset.model_dump_json(),
            "limit": self.limit,
            "epoch": self.epoch,
            "lines": self.lines,
            "float_accuracy": self.float_accuracy,
            "network": self.network.state_dict(),
            "optimiser": optimiser.state_dict() if optimiser else None,
            "schedule": schedule.state_dict() if optimiser else None,
        }
        with whole_file(self.state_path) as partial:
            torch.save(state, partial)

    def _load(self) -> dict | None:
        """Take up a saved run; return its optimiser's state if a phase was under way."""
        if not self.state_path.is_file():
            return None
        content = BytesIO(self.state_path.read_bytes())
        with self._whole_state():
            # torch stores a zip archive and reads one without a look at its check sums.
            if damaged := ZipFile(content).testzip():
                raise BadZipFile(damaged)
            content.seek(0)
            state = torch.load(content, weights_only=True)
            stored = parse_preset(json.loads(state["preset"]), str(self.state_path))
            if (stored, state["limit"]) != (self.preset, self.limit):
                raise SpecError(
                    f"{self.state_path} belongs to another version of preset {self.preset.name}:"
                    " remove it to train anew"
                )
            self.network.load_state_dict(state["network"])
            self.epoch, self.lines = int(state["epoch"]), list(state["lines"])
            self.float_accuracy = state["float_accuracy"]
            under_way = state["optimiser"] is not None
        tqdm.write(f"resuming after epoch {self.epoch}")
        return state if under_way else None

    @contextmanager
    def _whole_state(self) -> Iterator[None]:
        """Turn what a damaged or foreign state raises, in torch or here, into one message."""
        try:
            yield
        except SpecError:
            raise
        except (
            RuntimeError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            EOFError,
            BadZipFile,
            pickle.UnpicklingError,
        ):
            raise SpecError(
                f"{self.state_path} is not a whole training state: remove it to train anew"
            ) from None


def start_from(network: SpikingTransformer, checkpoint: Checkpoint) -> None:
    """Give synaptic layers the weights and biases of a checkpoint, without batch norm.

    Routers and experts are not among them: they keep what they have.

    Raises
    ------
    SpecError
        If the checkpoint lacks a layer or has it in another shape.
    """
    layers = network_layers(network.preset)
    fresh = {layer.name for layer in layers if layer.kind in ("router", "expert")}
    for name, layer in network.synapses().items():
        if name in fresh:
            continue
        shape = tuple(layer.weight.shape)
        found = checkpoint.weights.get(name)
        if found is None or found.shape != shape:
            has = "no such layer" if found is None else f"shape {found.shape}"
            raise SpecError(
                f"train.start is {checkpoint.preset.name}: {name} must be of shape {shape},"
                f" it has {has}"
            )
        layer.take(
            torch.from_numpy(found),
            torch.from_numpy(checkpoint.biases[name]),
            checkpoint.scales[name],
        )


def augment(pixels: Tensor, settings: Train, random: torch.Generator) -> Tensor:
    """Shift each image by up to ``shift_pixels`` and flip half of them, as the preset says."""
    reach = settings.shift_pixels
    if reach:
        height, width = pixels.shape[2:]
        padded = functional.pad(pixels, [reach] * 4)
        shifts = torch.randint(0, 2 * reach + 1, (2, len(pixels), 1), generator=random)
        rows = (torch.arange(height) + shifts[0])[:, None, :, None]
        columns = (torch.arange(width) + shifts[1])[:, None, None, :]
        images = torch.arange(len(pixels))[:, None, None, None]
        channels = torch.arange(pixels.shape[1])[None, :, None, None]
        pixels = padded[images, channels, rows, columns]
    if settings.flip:
        flipped = torch.rand(len(pixels), generator=random) < 0.5
        pixels = torch.where(flipped[:, None, None, None], pixels.flip(3), pixels)
    return pixels


def _check_batch_norm(preset: Preset) -> None:
    """Refuse a batch that leaves a layer's batch norm a single value of a channel."""
    # Pixels are the same in all time steps, so their layer computes one.
    first, *_ = network_layers(preset)
    values = min(first.positions, preset.tokens * preset.network.time_steps)
    if preset.train.batch * values < 2:
        raise SpecError(
            f"train.batch is {preset.train.batch}: must be at least 2, as batch norm needs two"
            " values of a channel and an image has one"
        )


def _listed(values: Tensor) -> str:
    return " ".join(f"{value:.2f}" for value in values.tolist())


def _batches(count: int, batch: int, random: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=random)
    for start in range(0, count - batch + 1, batch):
        yield order[start : start + batch]


def _membrane_bits(checkpoint: Checkpoint) -> int:
    """Bits of a float's significand that hold every membrane with ``beta = 1/2``, guard bits too.

    The decayed inputs of all steps add up to less than twice the largest: a bit that the sign of
    the widest input makes room for.
    """
    preset = checkpoint.preset
    widest = max(checkpoint_widths(checkpoint).potential, attention_input_bits(preset))
    return widest + guard_bits(preset.network.time_steps)


def finish(run: Run, out: Path | None) -> None:
    """Train to the end, export the integers, and write checkpoint and log side by side."""
    path = out or checkpoint_path(run.preset)
    if path.suffix != ".safetensors":
        raise SpecError(f"out is {path}: must end in .safetensors")
    network = run.train()
    checkpoint = export(
        network,
        {
            "command": f"python -m golden train --preset {run.preset.name}",
            "seed": str(run.settings.seed),
            "float_accuracy": f"{run.float_accuracy:.2f}",
        },
    )
    if (bits := _membrane_bits(checkpoint)) > FLOAT_BITS:
        run.note(
            f"membranes may need {bits} bits, floats have {FLOAT_BITS}:"
            " float and integer logits may differ"
        )
    images, labels = load_split(run.preset, "test")
    accuracy = integer_accuracy(IntegerModel(checkpoint), images, labels)
    run.note(f"integer test accuracy {accuracy:.2f} %")
    checkpoint.save(path)
    lines = [f"{checkpoint.info['command']}  (seed {run.settings.seed})", *run.lines]
    with whole_file(path.with_suffix(".log")) as partial:
        partial.write_text("\n".join(lines) + "\n")
    tqdm.write(f"wrote {path}")
