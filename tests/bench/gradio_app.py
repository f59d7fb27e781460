"""The starter model behind a Gradio app with its queue, as Gradio's guides set one up: `gradio_app PORT`.

Runs as a process of its own, on the packages that tests/bench/gradio.txt names.
"""

import sys
from typing import Any

import gradio

from tests.bench import bare
from tests.bench.overhead import STEP


def main(port: int) -> None:
    """Serve until the process is ended. The endpoint is called `draw`."""
    import torch

    pipe = bare.pipeline()

    def draw(prompt: str, seed: float) -> Any:
        return pipe(
            prompt=prompt,
            negative_prompt=STEP.negative_prompt,
            width=STEP.width,
            height=STEP.height,
            num_inference_steps=STEP.num_inference_steps,
            guidance_scale=STEP.guidance_scale,
            generator=[torch.Generator().manual_seed(int(seed))],
        ).images[0]

    app = gradio.Interface(
        draw,
        inputs=[gradio.Textbox(), gradio.Number(precision=0)],
        outputs=gradio.Image(type="pil", format="png"),
        api_name="draw",
        flagging_mode="never",
        analytics_enabled=False,
    )
    app.queue().launch(server_name="127.0.0.1", server_port=port, share=False, quiet=True, ssr_mode=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
