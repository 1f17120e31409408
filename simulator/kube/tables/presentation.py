"""Answers in the form that a client wants: as they are, as a Table, or as metadata alone. Pure functions of objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from simulator.kube.go_text import go_package
from simulator.kube.kinds import Kind, Object
from simulator.kube.listing import Page
from simulator.kube.negotiation import Form, wrong_shape
from simulator.kube.registry import Column
from simulator.kube.status import ApiFailure
from simulator.kube.tables.table import Include, include_parameter, partial, partial_list, table


@dataclass(frozen=True, slots=True)
class Presentation:
    """How objects of a kind are shown at `now`.

    `include` is what the rows of a table hold besides their cells, `columns` are those of a CustomResourceDefinition,
    `list_kind` is the kind of a list that is shown as it is.
    """

    kind: Kind
    form: Form
    now: datetime
    include: Include = "Metadata"
    columns: Sequence[Column] = ()
    list_kind: str = ""

    def of_object(self, obj: Object) -> Object:
        """One object, or a Status, which is always shown as it is.

        Raises:
            ApiFailure: 406, or 500 for a custom resource, as the real API has it; an object cannot be shown as a list.
        """
        if obj.get("kind") == "Status":
            return obj
        obj = self.kind.shown(obj)
        if not self.form.shape:
            return obj
        match self.form.shape:
            case "PartialObjectMetadata":
                return partial(obj, self.form.api_version)
            case "Table":
                return self._table([obj], {"resourceVersion": obj["metadata"].get("resourceVersion", "")})
        if self.kind.custom:
            raise ApiFailure(500, "content is not a list")
        problem = "you requested PartialObjectMetadataList, but the requested object is not a list"
        raise wrong_shape(f"{problem} (*{go_package(self.kind.group)}.{self.kind.kind})")

    def of_list(self, page: Page) -> Object:
        """A list, or a part of one.

        Raises:
            ApiFailure: 406; a list cannot be shown as an object.
        """
        match self.form.shape:
            case "Table":
                return self._table(page.objects, _list_metadata(page))
            case "PartialObjectMetadataList":
                return partial_list(page.objects, _list_metadata(page), self.form.api_version)
            case "PartialObjectMetadata":
                go_type = (
                    "unstructured.UnstructuredList"
                    if self.kind.custom
                    else f"{go_package(self.kind.group)}.{self.kind.kind}List"
                )
                problem = "you requested PartialObjectMetadata, but the requested object is a list"
                raise wrong_shape(f"{problem} (*{go_type})")
        metadata = _list_metadata(page)
        if self.kind.custom:
            metadata.setdefault("continue", "")
        return {
            "kind": self.list_kind or f"{self.kind.kind}List",
            "apiVersion": self.kind.api_version,
            "metadata": metadata,
            "items": [self.kind.shown(obj) if self.kind.custom else _untyped(obj) for obj in page.objects],
        }

    def _table(self, objects: Sequence[Object], metadata: Object) -> Object:
        return table(
            self.kind,
            [self.kind.shown(obj) for obj in objects],
            metadata,
            self.now,
            include=self.include,
            columns=self.columns,
            api_version=self.form.api_version,
        )


def presentation(
    query: Mapping[str, str], kind: Kind, form: Form, columns: Sequence[Column] = (), list_kind: str = ""
) -> Presentation:
    """How objects are shown now to a client that wants `form`, and sent these parameters.

    Raises:
        ApiFailure: 400; a table's rows are to hold what there is not.
    """
    include = include_parameter(query) if form.shape == "Table" else "Metadata"
    return Presentation(kind, form, datetime.now(UTC), include, columns, list_kind)


def _list_metadata(page: Page) -> Object:
    return {
        "resourceVersion": str(page.version),
        **({"continue": page.token} if page.token else {}),
        **({} if page.remaining is None else {"remainingItemCount": page.remaining}),
    }


def _untyped(obj: Object) -> Object:
    """An item of a built-in kind's list, which does not repeat the kind."""
    return {name: value for name, value in obj.items() if name not in ("kind", "apiVersion")}
