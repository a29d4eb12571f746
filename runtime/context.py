"""The generation and the per-call view of it that every function is given."""

from portal.runtime.ops.schema import Settings
from portal.shared.contract import Call
from portal.shared.ports import (
    Control,
    Documentation,
    Gateway,
    HealthReport,
    Metrics,
    ModelAdmin,
    Models,
    Pages,
    Personas,
    Routing,
    Sessions,
    Turns,
    UsageLog,
)
from portal.shared.state_ports import Conversations


class Generation:
    """Everything that one configuration made; calls in flight keep the one they began with."""

    def __init__(
        self,
        *,
        settings: Settings,
        models: Models,
        gateway: Gateway,
        routing: Routing,
        model_admin: ModelAdmin,
        personas: Personas,
        turns: Turns,
        usage: UsageLog,
        conversations: Conversations,
        health: HealthReport,
        metrics: Metrics,
        documentation: Documentation,
        pages: Pages,
        sessions: Sessions,
        control: Control,
    ) -> None:
        self.settings = settings
        self.models = models
        self.gateway = gateway
        self.routing = routing
        self.model_admin = model_admin
        self.personas = personas
        self.turns = turns
        self.usage = usage
        self.conversations = conversations
        self.health = health
        self.metrics = metrics
        self.documentation = documentation
        self.pages = pages
        self.sessions = sessions
        self.control = control


class CallContext:
    """One call's view: its `call`, and the ports of the generation it began with."""

    __slots__ = ("_generation", "call")

    def __init__(self, generation: Generation, call: Call) -> None:
        self._generation = generation
        self.call = call

    @property
    def models(self) -> Models:
        return self._generation.models

    @property
    def gateway(self) -> Gateway:
        return self._generation.gateway

    @property
    def routing(self) -> Routing:
        return self._generation.routing

    @property
    def model_admin(self) -> ModelAdmin:
        return self._generation.model_admin

    @property
    def personas(self) -> Personas:
        return self._generation.personas

    @property
    def turns(self) -> Turns:
        return self._generation.turns

    @property
    def usage(self) -> UsageLog:
        return self._generation.usage

    @property
    def conversations(self) -> Conversations:
        return self._generation.conversations

    @property
    def health(self) -> HealthReport:
        return self._generation.health

    @property
    def metrics(self) -> Metrics:
        return self._generation.metrics

    @property
    def documentation(self) -> Documentation:
        return self._generation.documentation

    @property
    def pages(self) -> Pages:
        return self._generation.pages

    @property
    def sessions(self) -> Sessions:
        return self._generation.sessions

    @property
    def control(self) -> Control:
        return self._generation.control
