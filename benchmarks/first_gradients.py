"""How far plain SGD can move each parameter of SSPrompt: its gradient at the start, and its spread.

    python benchmarks/first_gradients.py [--data 'streets:snow?seed=100'] [--short-side 128] [--images 4]

The loss is the paper's, a mean cross-entropy. What 1,000 steps at 1e-3 move is an upper bound, as if all gradients were
alike and the rate constant; relative rates of the parameters are left out.
"""

import argparse

import torch

import promptseg
from promptseg.engine.defaults import default_prompts
from promptseg.engine.settings import resolve
from promptseg.features.encode import image_tensor
from promptseg.methods.registry import METHODS
from promptseg.tasks.semantic import PRESETS, SemanticTask

STEPS, RATE = 1000, 1e-3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="streets:snow?seed=100")
    parser.add_argument("--short-side", type=int, default=128)
    parser.add_argument("--images", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, data = promptseg.load_model("seem-lite", device="cpu"), promptseg.load_dataset(args.data)
    settings, task = resolve("paper", METHODS["ssprompt"], {}), SemanticTask(PRESETS["paper"])
    defaults = default_prompts(model, data.label_space, templates=settings.fit.templates)
    module = METHODS["ssprompt"].build(model, defaults, settings.method, 0)
    for sample in data.train[: args.images]:
        pixels = image_tensor(model, sample.image(), args.short_side)
        target = task.target(sample, (pixels.shape[1], pixels.shape[2]), False)
        prediction = model.decode(model.encode_image([pixels]), defaults.updated(module()))
        (task.loss(prediction, [target]) / args.images).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        size = parameter.grad.square().mean().sqrt().item()
        spread = parameter.detach().std().item() or 1.0  # free weights are all alike at the start
        moved = STEPS * RATE * size / spread
        print(f"{name:<28} gradient {size:.1e}, spread {spread:.2g}, moved by {100 * moved:.2g} % of it")


if __name__ == "__main__":
    main()
