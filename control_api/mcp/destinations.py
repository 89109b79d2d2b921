"""Where single ones of several sounds go: into the staging area, or to URLs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from control_api.intake import Request, about_url
from control_api.ports import Service
from handlers.declare import Operation, Params
from handlers.engines.registry import find_engine
from handlers.errors import BadParameter, MistypedParameter

STEM_PATHS, STEM_URLS = "output_paths", "output_urls"


@dataclass(frozen=True)
class Destinations:
    """Paths and URLs by the name of the sound; the others come within the answer."""

    paths: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    #: Nobody waits for the answer.
    background: bool = False

    @classmethod
    def taken_from(cls, given: dict[str, Any]) -> Destinations:
        """What the arguments of a call say, which are left with the rest.

        Raises:
            MistypedParameter: it is no object of names and texts.
        """
        paths, urls = (_texts(given, name) for name in (STEM_PATHS, STEM_URLS))
        return cls(paths, urls, bool(given.get("async_job")))

    def __bool__(self) -> bool:
        return bool(self.paths or self.urls)

    def check(self, op: Operation, params: Params, values: Mapping[str, Any]) -> None:
        """Refuse what does not fit the sounds that will come, or the other arguments.

        Raises:
            BadParameter: says what.
        """
        both = sorted(set(self.paths) & set(self.urls))
        if both:
            raise BadParameter(f"{both[0]} is in {STEM_PATHS} and in {STEM_URLS}", field=STEM_URLS)
        if {"output_path", "output_url"} & set(values):
            raise BadParameter(f"give {STEM_PATHS} and {STEM_URLS}, or one destination, not both")
        known = op.sounds or tuple(find_engine(op.engine_of(params)).stems or ())
        coming = tuple(getattr(params, "stems", ())) or known
        for where, named in ((STEM_PATHS, self.paths), (STEM_URLS, self.urls)):
            for stem in named:
                if stem not in known:
                    raise BadParameter(
                        f"{where}: there is no stem {stem!r}; there are: {', '.join(known)}",
                        field=where,
                    )
                if stem not in coming:
                    raise BadParameter(
                        f"{where}: {stem} is not asked for; there will come: {', '.join(coming)}",
                        field=where,
                    )
        if self.background and self.paths:
            raise BadParameter(
                f"{STEM_PATHS} needs somebody who waits; with async_job give output_path",
                field=STEM_PATHS,
            )
        left = [stem for stem in coming if stem not in self.urls]
        if self.background and left:
            raise BadParameter(
                f"with async_job every stem needs a place; {left[0]} has none in {STEM_URLS}",
                field=STEM_URLS,
            )

    def applied(self, job_id: str, request: Request, service: Service) -> Request:
        """A request whose sounds are delivered one by one, and sent where they are wanted.

        Raises:
            UrlRefused, TransferFailed: a URL may not be used.
        """
        if not self.urls or request.plan:
            return request
        delivery = request.order.delivery
        assert delivery is not None
        several = delivery.bundle
        urls = dict(self.urls) if several else {"": next(iter(self.urls.values()))}
        for stem, url in self.urls.items():
            with about_url(f"{STEM_URLS}: {stem}", STEM_URLS):
                sent = service.remote_delivery(job_id, delivery.name, {stem: url})
        # A bundle would be one file; each sound is one of its own, by its name.
        how = {"name": "{part}", "exact": False} if several else {}
        sent = sent.model_copy(
            update={"urls": urls, "encoding": delivery.encoding, "bundle": False, **how}
        )
        order = request.order.model_copy(update={"delivery": sent})
        return replace(request, order=order, output_path=None)


def _texts(given: dict[str, Any], name: str) -> dict[str, str]:
    value = given.pop(name, None) or {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise MistypedParameter(f"{name} must be an object of stems and texts", field=name)
    return value
