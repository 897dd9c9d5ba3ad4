"""An auto-annotation function for CVAT: its command line or its SDK brings the photos, and takes the labels back.

    cvat-cli task auto-annotate 137 --function-module promptseg.integrations.cvat -p prompts=str:runs/photos/prompts

The interface is that of `cvat_sdk.auto_annotation` (a detection function), as CVAT's documentation states it.
"""

from typing import Any

from PIL import Image

from promptseg.engine.predict import Labeller
from promptseg.export.answers import objects_of
from promptseg.export.parts import Part
from promptseg.extras import import_extra
from promptseg.label_space import LabelSpace


class CvatFunction:
    """Labels photos for CVAT with masks, or with polygons where it asks for them.

    An object is a connected part of a class for the task `semantic`, and what was found for the others. CVAT matches
    classes by their names, and leaves out those that its task does not have if it is told to.
    """

    def __init__(self, prompts: str, task: str | None = None, device: str | None = None, **settings: Any) -> None:
        """Check what is asked for; the model is loaded with the first photo.

        Args:
            prompts: a prompt folder.
            task: as for `Labeller`.
            device: as for `Labeller`.
            settings: as for `Labeller`.

        Raises:
            PromptsegError: the extra is not installed, no such prompts, or an unknown task or setting.
        """
        self._cvat = import_extra("cvat_sdk.auto_annotation", "cvat", "an auto-annotation function")
        self._encode = import_extra("cvat_sdk.masks", "cvat", "an auto-annotation function").encode_mask
        self._labeller = Labeller(prompts, task, device=device, **settings)
        self.spec = self._cvat.DetectionFunctionSpec(labels=_labels(self._cvat, self._labeller.prompts.label_space))

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        """The shapes on a photo.

        Args:
            context: CVAT's `DetectionFunctionContext`; of its threshold, objects with a score of less are left out.
            image: the photo.
        """
        (answer,) = self._labeller([image])
        least = context.conf_threshold or 0.0
        return [
            self._shape(found, context.conv_mask_to_poly)
            for found, score in objects_of(answer)
            if score is None or score >= least
        ]

    def _shape(self, found: Part, polygon: bool) -> Any:
        if polygon:
            return self._cvat.polygon(found.class_id, found.polygon().ravel().astype(float).tolist())
        *runs, left, top, right, bottom = self._encode(found.mask)
        place = [left + found.left, top + found.top, right + found.left, bottom + found.top]
        return self._cvat.mask(found.class_id, [float(value) for value in (*runs, *place)])


create = CvatFunction
"""What CVAT's command line calls."""


def _labels(cvat: Any, space: LabelSpace) -> list[Any]:
    return [
        cvat.label_spec(info.name, number, type="mask", color="#{:02x}{:02x}{:02x}".format(*info.color))
        for number, info in enumerate(space.classes)
    ]
