"""The session of a panel, of whatever it is given: a network, a model, another session, or an atlas."""

from __future__ import annotations

from typing import Any

from nn_lens.atlas.atlas import Atlas
from nn_lens.errors import LensError, a_type
from nn_lens.sessions.session import Session


def session_of(given: Any, dataset: Any = None, atlas: Any = None) -> Session:
    """The session of a panel.

    Raises:
        LensError: `atlas` is none, or one of another network. NetworkError: the model cannot be run.
    """
    if atlas is not None and not isinstance(atlas, Atlas):
        raise LensError(f"atlas= takes an nl.Atlas, such as nl.Atlas(folder); got {a_type(atlas)}.")
    if isinstance(given, Session):
        if atlas is not None:
            raise LensError("A session has its atlas from its beginning: nl.Session(net, atlas=atlas).")
        return given
    if isinstance(given, Atlas):
        return Session(given.net, dataset, cache=False, atlas=given)
    session = Session(given, dataset, atlas=atlas)
    if atlas is not None and atlas.fingerprint() != session.net.fingerprint():
        raise LensError(
            f"The atlas at {atlas.path!r} was made of other weights or other code than this network has ({atlas.net}); "
            "nl.Lens(atlas) shows it by itself."
        )
    return session
