"""Check of the stored documents, from sites to erasures, that this version can't read."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analytics_server.access.gate import Gate
from analytics_server.access.links.share_links import ShareLinks
from analytics_server.access.people.accounts import Accounts
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.sites.sites import Sites
from analytics_server.analyses.experiments.definition import ExperimentBody
from analytics_server.analyses.funnels.definition import FunnelBody
from analytics_server.archive.roots import ArchiveRoots
from analytics_server.config import AccessSection, SitesSection
from analytics_server.doctor.report import BaseCheck, Finding, count
from analytics_server.privacy.erasure_jobs import ErasureJobs
from analytics_server.privacy.opt_outs import OptOuts
from analytics_server.privacy.user_hashes import UserHashes
from analytics_server.query.language.saved_filters import GoalBody, SegmentBody
from analytics_server.query.saved_kinds.annotations import AnnotationBody
from analytics_server.query.saved_kinds.queries import QueryBody
from analytics_server.saved.store import Kind, Saved, body_of
from analytics_server.store import Store
from analytics_server.store.unreadable import UnreadableDocuments

BODIES: Mapping[Kind, type[msgspec.Struct]] = {
    Kind.GOAL: GoalBody,
    Kind.SEGMENT: SegmentBody,
    Kind.ANNOTATION: AnnotationBody,
    Kind.QUERY: QueryBody,
    Kind.FUNNEL: FunnelBody,
    Kind.EXPERIMENT: ExperimentBody,
}
MOST_NAMED = 20
"""So many documents are named in the message; all of them in the facts."""


class DocumentsCheck(BaseCheck):
    """Can every stored document be read? Those that can't are left out by the server, and hide no others."""

    name = "documents"

    def __init__(self, store: Store, sites: SitesSection) -> None:
        self._store = store
        self._sites = sites

    async def examine(self) -> Finding:
        """Read all documents as a server does. Raises a store error."""
        unreadable = UnreadableDocuments()
        store = self._store
        accounts, saved = Accounts(store, unreadable=unreadable), Saved(store, unreadable=unreadable)
        for documents in (
            Gate(store, unreadable=unreadable),
            Sites(store, self._sites, unreadable=unreadable),
            accounts,
            PersonSessions(store, accounts, AccessSection(), unreadable=unreadable),
            ShareLinks(store, unreadable=unreadable),
            OptOuts(store, UserHashes(store), unreadable=unreadable),
            ErasureJobs(store, unreadable=unreadable).documents,
            ArchiveRoots(store, unreadable=unreadable),
            saved,
        ):
            await documents.load()
        saved.readable(saved.everything(), lambda thing: body_of(thing, BODIES[thing.kind]))
        named = [f"{kind} {id_}" for kind, ids in unreadable.ids().items() for id_ in ids]
        if not named:
            return self.ok("All stored documents can be read.")
        more = "" if len(named) <= MOST_NAMED else ", …"
        return self.warning(
            f"{count(len(named), 'stored document')} can't be read and is left out: "
            f"{', '.join(named[:MOST_NAMED])}{more}.",
            "Run the newer version that wrote them; or save them again, or delete them.",
            unreadable=named,
        )
