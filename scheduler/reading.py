"""What a term reads: to begin, the rest then, what others wrote meanwhile, and what is held back."""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

import structlog

from scheduler.held import LIST
from scheduler.planned import Memory
from scheduler.publisher import Publisher
from scheduler.rotations import Rotations
from scheduler.sign_ins import SignIns
from scheduler.specs import SpecCache
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import DocumentMalformed, StoreError, VersionConflict
from vault_plugin.core.names import is_name
from vault_plugin.core.ports import World
from vault_plugin.core.published import Prompt, Status, Token
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import State
from vault_plugin.core.tenants import ServerSpec, TenantSpec

log = structlog.get_logger()

READERS = 8
#: A status may be out of date if the process before died so shortly after a change.
RECENT = timedelta(minutes=2)
#: What a tenant's document is taken to say until it is read.
ASSUMED = TenantSpec(server="assumed")


class Reading:
    """Thread-safe. One object that can't be read holds up nobody else: it is held back, and tried again."""

    def __init__(
        self,
        world: World,
        specs: SpecCache,
        memory: Memory,
        rotations: Rotations,
        sign_ins: SignIns,
        publisher: Publisher,
    ) -> None:
        """Have read nothing yet."""
        self._world = world
        self._specs = specs
        self._memory = memory
        self._rotations = rotations
        self._sign_ins = sign_ins
        self._publisher = publisher
        self._held = publisher.held
        #: How an object that is held back is tried again, by its kind; without a name it is the kind's LIST.
        self._retries: dict[str, Callable[[str], object]] = {
            Credential.kind: lambda name: self._take_up(name) if name else self._find_credentials(),
            SignIn.kind: lambda name: self._sign_ins.load(name) if name else self._find_sign_ins(),
            TenantSpec.kind: lambda name: self._look_again(name) if name else self._list(),
            ServerSpec.kind: lambda name: self._server_again(name) if name else self._list(),
            Token.kind: self._publisher.publish_soon,
            Status.kind: self._publisher.tell,
            Prompt.kind: self._sign_ins.show_again,
        }
        #: Who was read already, or is held back: a repeated start goes on with what is left.
        self._loaded: set[str] = set()
        #: Whose journal is in the lanes' memory already: it must not be put there twice.
        self._remembered: set[str] = set()
        #: What is yet to be read after the beginning, the most urgent last.
        self._rest: list[str] | None = None
        self._sign_ins_listed: set[str] = set()

    def begin(self) -> None:
        """LIST, then one read for each credential: what is due can begin. The rest is read while it does.

        Raises:
            StoreError: Vault's trouble; it may be called again.
        """
        self._specs.list_again(ServerSpec)
        tenants = self._specs.list_names(TenantSpec)
        listless = self._held.holds(f"{TenantSpec.kind}/")
        names = self._credentials(otherwise=None if listless else tenants)

        def load(name: str) -> None:
            assumed = ASSUMED if listless or name in tenants else None
            with self._held_back(name):
                self._rotations.load(name, assumed=assumed, remember=name not in self._remembered)
                self._remembered.add(name)
            self._loaded.add(name)

        with ThreadPoolExecutor(READERS, thread_name_prefix="load") as readers:
            for _ in readers.map(load, [name for name in names if name not in self._loaded]):
                pass

    def _credentials(self, otherwise: Collection[str] | None) -> list[str]:
        """LIST the credentials; where that alone answers an error, the names that are known from elsewhere do, if any are."""
        path = f"{Credential.kind}/"
        try:
            return list(filter(is_name, self._world.store.names(Credential)))
        except StoreError as error:
            if not self._held.takes(error, path, LIST) or otherwise is None:
                raise
            return sorted(otherwise)

    def the_rest(self, ended: Callable[[], bool]) -> None:
        """Read sign-ins and tenants' documents; first of those without a token, then of those that rotated last."""
        if self._rest is None:
            known = {*self._specs.names(TenantSpec), *self._memory.names(), *self._loaded}
            self._sign_ins_listed = self._listed_sign_ins(otherwise=known)
            self._rest = sorted({*self._sign_ins_listed, *known}, key=self._urgency, reverse=True)
        while self._rest and not ended():
            name = self._rest[-1]
            self._take_up(name)
            self._rest.pop()
        if not self._rest:
            log.info("all_read", credentials=len(self._memory.names()))

    def _listed_sign_ins(self, otherwise: set[str]) -> set[str]:
        """LIST the sign-ins; where that alone answers an error, look for one of everybody's."""
        try:
            return set(filter(is_name, self._world.store.names(SignIn)))
        except StoreError as error:
            if not self._held.takes(error, f"{SignIn.kind}/", LIST):
                raise
            return otherwise

    @contextmanager
    def _held_back(self, name: str, kind: str = Credential.kind) -> Iterator[None]:
        """Leave a document that alone can't be read alone, and say so: it must not hold up the others.

        Raises:
            StoreError: Vault doesn't answer at all.
        """
        try:
            yield
        except VersionConflict:
            log.info("overtaken", tenant=name)
        except StoreError as error:
            if not self._held.takes(error, f"{kind}/{name}"):
                raise
        except Exception as broken:
            log.exception("tenant_broke", tenant=name)
            text = f"{kind}/{name} can't be taken up ({type(broken).__name__}); the log has the rest"
            self._held.takes(DocumentMalformed(text, remedy="Report this as a bug."), f"{kind}/{name}")

    def try_held(self) -> None:
        """Try again what is held back and whose time has come."""
        for path in self._held.due(self._retries):
            kind, _, name = path.partition("/")
            with self._held_back(name, kind):
                self._retries[kind](name)

    def changed(self, path: str) -> None:
        """Tell those whom it concerns that an object is held back, or isn't any more."""
        kind, _, name = path.partition("/")
        with suppress(RuntimeError):  # stopped meanwhile: whoever leads next tells
            if kind == ServerSpec.kind:
                for tenant in [tenant for tenant, planned in self._memory.seen() if planned.server == name]:
                    self._publisher.tell(tenant)
            elif kind in self._retries and name:
                self._publisher.tell(name)

    def _find_credentials(self) -> None:
        """Take up the credentials that nobody could list."""
        for name in self._credentials(otherwise=self._loaded):
            if name not in self._loaded:
                self._loaded.add(name)
                self._take_up(name)

    def _find_sign_ins(self) -> None:
        """Take up the sign-ins that nobody could list."""
        for name in sorted(self._listed_sign_ins(otherwise=set()) - self._sign_ins_listed):
            self._sign_ins_listed.add(name)
            self._take_up(name)

    def _server_again(self, name: str) -> None:
        """Read a server again, and look at its tenants if that changed anything."""
        if self._specs.load(ServerSpec, name):
            self._poke_all({name})

    def remembered(self, name: str) -> None:
        """Note that this credential's calls are in its lane's memory: they must not be put there twice."""
        self._remembered.add(name)

    def _urgency(self, name: str) -> tuple[bool, float]:
        planned = self._memory.get(name)
        return planned.state is State.ACTIVE, -planned.expires_at.timestamp() if planned.expires_at else 0.0

    def _take_up(self, name: str) -> None:
        """Read a tenant's documents, publish what a crash left unpublished, and tell where the status may be out of date."""
        if name in self._sign_ins_listed:
            with self._held_back(name, SignIn.kind):
                self._sign_ins.load(name, news=False)
        with self._held_back(name):
            self._specs.load(TenantSpec, name)
            credential = self._rotations.load(name, remember=name not in self._remembered)
            self._remembered.add(name)
            if credential.generation:
                self._publisher.publish(name, credential)
            recent = self._world.clock.now() - _changed_at(credential) < RECENT
            if recent or credential.state is not State.ACTIVE:
                self._publisher.tell(name)

    def _look_again(self, name: str) -> None:
        """Read a tenant's documents again, plan anew, tell what changed, and make again what somebody deleted."""
        before = self._memory.get(name)
        changed = self._specs.load(TenantSpec, name)
        credential = self._rotations.load(name)
        if changed or (before.state, before.generation) != (credential.state, credential.generation):
            self._publisher.tell(name)
        self._make_again(name, credential)

    def _make_again(self, name: str, credential: Credential) -> None:
        """Write anew what others read and somebody deleted: it holds nothing that isn't known elsewhere."""
        store = self._world.store
        with self._held_back(name, Token.kind):
            if credential.generation and store.read(Token, name).document is None:
                self._publisher.publish_soon(name)
        with self._held_back(name, Status.kind):
            if store.read(Status, name).document is None:
                self._publisher.tell(name)
        with self._held_back(name, Prompt.kind):
            if store.read(Prompt, name).gone:
                self._sign_ins.show_again(name)

    def again(self, older_than: timedelta, rounds: int) -> None:
        """Find what other clients wrote: new and vanished names, and every older document in so many rounds."""
        self._list()
        for name in self._specs.oldest(TenantSpec, older_than, rounds):
            with self._held_back(name):
                self._look_again(name)

    def _list(self) -> None:
        servers = self._specs.list_again(ServerSpec)
        servers |= {name for name in self._specs.names(ServerSpec) if self._specs.load(ServerSpec, name)}
        for name in self._specs.list_again(TenantSpec):
            self._rotations.poke(name)
        self._poke_all(servers)

    def _poke_all(self, servers: set[str]) -> None:
        """Look at everybody again who depends on one of these servers."""
        for name, planned in self._memory.seen() if servers else ():
            if planned.server in servers:
                self._rotations.poke(name)


def _changed_at(credential: Credential) -> datetime:
    """Return when something last happened to a credential that its status tells."""
    times = [credential.since, credential.last_rotation_at]
    times += [credential.assertion.obtained_at if credential.assertion else None]
    times += [credential.last_error.at if credential.last_error else None]
    return max(at for at in times if at is not None)
