"""Solve the parts whose inputs were summed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .._native import solver_layout
from ..arrays.scaled_importance import scaled_importance
from ..execution.workers import Workers
from ..forward.decoder import EMBEDDING
from ..gguf.importance import Importance
from ..gguf.source import SourceTensor
from ..inference.weights import TypedMatrix
from ..quantizing.rounding import Nearest, NearestRoundings
from ..quantizing.slabs import Slab, slabs_of
from ..types import QuantType
from .capturing import CapturedWeights, Part
from .choosing import Problem, choose, solve
from .gathered import Gathered
from .outcome import Outcome, PartOutcome
from .sink import SinkWeights
from .site import Site
from .source_matrix import SourceMatrix
from .sums import F64

__all__ = ["EXPERTS", "Solver", "router_of"]

PRIOR_TOKENS = 0.25
"""The prior of an expert's sum counts as so many tokens for each of its inputs."""

OF_GROUPS, ROUTER = "_chexps.weight", "ffn_gate_inp.weight"
EXPERTS = ("_exps.weight", OF_GROUPS)
"""Ends of the names of matrices of experts, of which each token uses some."""
OWN_NORM = "pre_ffw_norm_2.weight"


def router_of(tensor: str) -> str:
    """The name of the matrix that reads all that a layer's experts read."""
    return f"{tensor.rpartition('.ffn_')[0]}.{ROUTER}"


@dataclass(eq=False)
class Solver:
    """Solves parts and collects what comes out.

    Attributes:
        weights: the model's weights.
        tensors: the model's tensors by name.
        types: the wanted type of each tensor.
        importance: by tensor name, what the user gave.
        workers: threads of this process; they make plans and choose settings.
        others: round, solve and measure some rows at a time; they may be on other
            machines.
        device: the number of the CUDA device that solves and rounds; None: the CPU.
        sink: the weights of the first position.
        outcomes: by tensor name.
    """

    weights: CapturedWeights
    tensors: Mapping[str, SourceTensor]
    types: Mapping[str, QuantType]
    importance: Importance
    workers: Workers
    others: Workers
    device: int | None = None
    sink: SinkWeights = field(default_factory=SinkWeights)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def solve(self, parts: Sequence[Part], gathered: Gathered) -> None:
        """Solve parts whose sites were gathered; others keep the plain bytes."""
        routers = self._routers(parts, gathered)
        for leader, members in _by_site(parts, gathered):
            site = gathered.sites.get(leader)
            if site is None:
                for part in members:
                    self._keep_plain(part, None, "no token of the text has reached it")
                continue
            groups: dict[tuple[QuantType, float], list[Part]] = {}
            for part in members:
                key = self.types[part.tensor], self._sink_weight(part)
                groups.setdefault(key, []).append(part)
            *_, last = groups
            for key, group in groups.items():
                prior = self._prior(group[0], site, gathered)
                is_last = key == last and leader not in routers
                self._solve_group(group, site, *key, prior, is_last=is_last)

    def _routers(self, parts: Sequence[Part], gathered: Gathered) -> set[Part]:
        """The sites of all that experts read; other sums are shrunk toward theirs."""
        experts = {part.tensor for part in parts if part.tensor.endswith(EXPERTS)}
        routers = (p for name in experts for p in self.weights.parts(router_of(name)))
        return {gathered.leaders.get(part, part) for part in routers}

    def _solve_group(
        self,
        group: Sequence[Part],
        site: Site,
        type: QuantType,
        weight: float,
        prior: F64 | None,
        *,
        is_last: bool,
    ) -> None:
        """Solve parts that have the same site, type and sink weight."""
        why_not = _why_not(site, type, weight)
        if why_not:
            for part in group:
                self._keep_plain(part, site, why_not)
            return
        problems = [self._problem(part, site) for part in group]
        held, compared = site.held_out(weight), site.fitted(weight)
        quadratic = site.quadratic(weight, self.workers, prior, is_last=is_last)
        is_embedding = group[0].tensor == EMBEDDING
        chosen = choose(
            *(quadratic, problems, held, self.workers),
            is_embedding=is_embedding,
            device=self.device,
        )
        for part, problem in zip(group, problems, strict=True):
            how = held, compared, self.workers, self.others
            found = solve(chosen, problem, *how)
            outcome = self._outcome(part.tensor)
            outcome.data[part.start : part.stop] = found.data
            outcome.parts[part] = PartOutcome(site.sums.n_tokens, weight, found)

    def keep_plain(self, name: str, why_not: str) -> None:
        """Keep the plain bytes of a tensor that has no site."""
        tensor = self.tensors[name]
        self._keep_plain(Part(name, 0, tensor.n_rows), None, why_not)

    def plain(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a tensor without calibration."""
        tensor, type = self.tensors[name], self.types[name]
        slabs = slabs_of(tensor, type, self._nearest.of(tensor))
        converted = self.others.in_order(Slab.convert, slabs)
        return np.concatenate([rows for _, rows in converted])

    @property
    def _nearest(self) -> NearestRoundings:
        """How tensors are rounded without calibration."""
        return NearestRoundings(self.importance, self.device)

    def _prior(self, part: Part, site: Site, gathered: Gathered) -> F64 | None:
        """What an expert's sum is shrunk toward: its layer's, or its diagonal.

        Experts have different inner widths, so the sum of all of them says nothing
        about the inputs of `ffn_down_exps`.  Neither does the router's if experts have
        a norm of their own, or are those of groups, which read what others give.
        """
        if not part.tensor.endswith(EXPERTS):
            return None
        sums = site.sums
        name = router_of(part.tensor)
        router = gathered.of(self.weights.parts(name)[0])
        has_norm = f"{name.removesuffix(ROUTER)}{OWN_NORM}" in self.tensors
        if has_norm or part.tensor.endswith(OF_GROUPS):
            router = None
        if router is None or router.sums.n_cols != sums.n_cols or "down" in part.tensor:
            n_tokens = max(sums.n_tokens, 1)  # all of an expert's may be held out
            mean = np.diag(sums.squares.diagonal()) / n_tokens
        else:
            mean = router.sums.squares / router.sums.n_tokens
        return PRIOR_TOKENS * sums.n_cols * mean

    def _sink_weight(self, part: Part) -> float:
        parts = self.weights.parts(part.tensor)
        return self.sink.of(part.tensor, parts.index(part) if part in parts else 0)

    def _outcome(self, name: str) -> Outcome:
        if name not in self.outcomes:
            self.outcomes[name] = Outcome(self.tensors[name], self.types[name])
        return self.outcomes[name]

    def _keep_plain(self, part: Part, site: Site | None, why_not: str) -> None:
        plain = self._plain(part, site)
        outcome = self._outcome(part.tensor)
        outcome.data[part.start : part.stop] = plain
        n_tokens = 0 if site is None else site.sums.n_tokens
        weight = self._sink_weight(part)
        outcome.parts[part] = PartOutcome(n_tokens, weight, None, why_not)

    def _problem(self, part: Part, site: Site) -> Problem:
        whole = self.weights.typed(part.tensor)
        own = whole.part(part.start, part.stop)
        matrix = SourceMatrix(self.tensors[part.tensor], part.start, own)
        data = self._plain(part, site)
        type = self.types[part.tensor]
        plain = TypedMatrix(data, type, own.n_cols, scale=own.scale)
        return Problem(matrix, plain, part.start)

    def _plain(self, part: Part, site: Site | None) -> NDArray[np.uint8]:
        """The bytes of a part without calibration, but with importance."""
        tensor, outcome = self.tensors[part.tensor], self._outcome(part.tensor)
        matrix = outcome.matrix_of(part)
        if tensor.name in self.importance:
            ways = self._nearest.of(tensor)
            rounding = ways[matrix if len(ways) > 1 else 0]
        else:
            if site is not None:
                outcome.importance[matrix] = site.mean_squares()
            scaled = scaled_importance(outcome.importance[matrix])
            rounding = Nearest(scaled, self.device)
        slabs = slabs_of(tensor, outcome.type, [rounding], part.start, part.stop)
        converted = self.others.in_order(Slab.convert, slabs)
        return np.concatenate([rows for _, rows in converted])


def _by_site(
    parts: Sequence[Part], gathered: Gathered
) -> Iterator[tuple[Part, list[Part]]]:
    """The parts by the first one of their site."""
    sites: dict[Part, list[Part]] = {}
    for part in parts:
        sites.setdefault(gathered.leaders.get(part, part), []).append(part)
    yield from sites.items()


def _why_not(site: Site, type: QuantType, weight: float) -> str:
    """Why a site's parts cannot be solved, or ""."""
    if solver_layout(type) is None:
        return f"there is no calibrated rounding to {type.name}"
    if not site.sums.n_tokens:
        return "no token of the text has reached it"
    if not site.held_out(weight):
        return "no held-out token of the text has reached it"
    if not site.sums.squares.trace():
        return "all its inputs are zero"
    return ""
