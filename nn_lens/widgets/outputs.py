"""What goes out of a panel: a page that stands alone, a picture for print, and Python that makes the panel again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nn_lens.errors import LensError
from nn_lens.sessions import finished, prints
from nn_lens.widgets import export
from nn_lens.widgets.bundle import bundle
from nn_lens.widgets.table import TABLE


class Outputs:
    """The part of a `Panel` that writes it."""

    def to_html(self: Any, path: str | os.PathLike[str], layers: Sequence[str] | None = None) -> None:
        """Writes the panel as one HTML file that still scrubs, hovers and switches views, with no kernel and no network.

        layers: what it holds, all units of each; None: the selected layer. Of the evidence it holds the selected unit's.

        Raises:
            UnknownLayer: no such layer. LensError: the file cannot be written.
        """
        self._weights_may_have_moved()  # it may be called from within a cell, which is not over
        names = [self.session.net[layer].name for layer in (layers if layers is not None else [self.layer])]
        export.write(self._state(names), Path(path).expanduser(), names, bundle())

    def _state(self: Any, layers: Sequence[str]) -> export.State:
        net, step = self.session.net.name, "" if self.step is None else f", step {self.step}"
        return export.State(
            {name: getattr(self, name) for name in export.TRAITS}, self._look(), self._conversation.answers,
            f"nn-lens: {net}, {', '.join(layers)}{step}", self.compared._state(layers) if self.compared else None,
        )  # fmt: skip

    def save_png(self: Any, path: str | os.PathLike[str], view: str | None = None, dpi: int = 300) -> None:
        """Writes a view as a picture for print, below a line with the picture, the unit and what is seen; drawn by matplotlib,
        of two networks side by side.

        view: a view's name, "all" or "evidence"; None: what is shown. dpi: dots per inch.

        Raises:
            LensError: a view that has no figure or nothing to show, or a file that cannot be written.
        """
        shown = TABLE.shown(self.view, self._views)
        if view is not None:
            shown = TABLE.shown(view, TABLE.views) if view in TABLE.names(TABLE.views) else [view]
        # What stands beside every view is left out where there is another.
        shown = [v for v in shown if v == view or not getattr(TABLE.views.get(v), "beside", False)] or shown
        panels = [panel for panel in (self, self.compared) if panel is not None]
        image = prints.side_by_side([panel._printed(shown, dpi) for panel in panels])
        try:
            image.save(Path(path).expanduser(), format="PNG", dpi=(dpi, dpi))
        except OSError as error:
            raise LensError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error

    def _printed(self: Any, views: Sequence[str], dpi: int) -> Any:
        self._weights_may_have_moved()
        unit, picture = self.unit, self.picture
        title = ", ".join(TABLE.views[view].title for view in views if view in prints.FIGURES)
        name = (self._picture or {}).get("name")
        title += f" ({name})" if name else ""
        return self.session.run(lambda s: prints.printed(s, views, unit, picture, dpi, title))[-1]

    def code(self: Any) -> str:
        """Python text that makes this panel again, for a network called `net`, an atlas `atlas`, compared with one called
        `other`.
        """
        name = (self._picture or {}).get("name")
        of = "atlas" if finished.alone(self.session) else "net"
        picture = f', picture=net.samples["{name}"]' if self._pictures.is_own(name) and of == "net" else ""
        view = f', view="{self.view}"' if self.view not in ("", "all") else ""
        compare = "" if self.compared is None else ", compare=other"
        atlas = ", atlas=atlas" if self.session.atlas is not None and of == "net" else ""
        return f'nl.{type(self).__name__}({of}, unit="{self.unit}"{picture}{view}{compare}{atlas})'
