"""A function as the server and the nodes know it."""

from dataclasses import dataclass, field

from ingle.model.image import ImageSpec
from ingle.model.resources import Limits, Resources
from ingle.model.retries import Retries


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many containers a function may and must have."""

    min_containers: int = 0
    max_containers: int | None = None  #: None: as many as fit
    buffer_containers: int = 0  #: so many more while the function is active
    scaledown_window_s: float = 60.0  #: an idle container is kept so long


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """Everything that is needed to run a function, but for its inputs."""

    id: str
    app_id: str
    name: str
    module: str  #: import name of the module that defines it
    qualname: str
    image: ImageSpec
    is_generator: bool = False
    is_async: bool = False
    definition: str | None = None  #: blob that holds the pickled function (`serialized=True`); None: imported
    source: str | None = None  #: id of the source tree laid under /root
    resources: Resources = Resources()
    limits: Limits = Limits()
    env: dict[str, str] = field(default_factory=dict)
    timeout_s: float = 300.0  #: of one attempt, from the start of its body
    startup_timeout_s: float = 300.0
    retries: Retries = Retries(0)
    scaling: Scaling = Scaling()
    block_network: bool = False
    single_use: bool = False  #: a container runs one input and ends
