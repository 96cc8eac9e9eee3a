# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The official clients of Elasticsearch and OpenSearch behind one interface: a request, and its answer or why there is none.

Elasticsearch's refuses other servers, so it is the cluster that says which one it is to be.
"""
from __future__ import annotations

import logging

from ...core.errors import ConnectError, ToolError

ELASTICSEARCH, OPENSEARCH = "elasticsearch", "opensearch"
# What the servers call themselves, for messages.
TITLES = {ELASTICSEARCH: "Elasticsearch", OPENSEARCH: "OpenSearch"}

_JSON = {"accept": "application/json", "content-type": "application/json"}


class Refusal(Exception):
    """An answer that is an error. status: a number. body: parsed, where it can be."""

    def __init__(self, status, body):
        super().__init__(status)
        self.status, self.body = status, body


class Silence(Exception):
    """An answer that never came. kind: tls, timeout or unreachable."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind, self.text = kind, text


class OtherProduct(Exception):
    """What answers is not what the client is for."""


class ElasticsearchClient:
    """Elasticsearch's own client. options: see options()."""

    product = ELASTICSEARCH

    def __init__(self, options):
        self._library = elasticsearch()
        # A timeout says nothing about whether the request was heard.
        self._client = self._library.Elasticsearch(request_timeout=options.pop("timeout"), retry_on_timeout=False, **options)

    def perform(self, method, path, params=None, body=None, retries=0):
        """The answer, parsed. retries: how often it is asked again. Raises Refusal, Silence, OtherProduct."""
        library = self._library
        try:
            client = self._client.options(max_retries=retries)
            return client.perform_request(method, path, params=params, headers=_JSON, body=body).body
        except library.UnsupportedProductError:
            raise OtherProduct from None
        except library.ApiError as exc:
            raise Refusal(exc.meta.status, exc.body) from None
        except library.TransportError as exc:
            raise Silence(kind_of(exc, library), exc.message) from None

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()


class OpenSearchClient:
    """OpenSearch's own client. options: see options()."""

    product = OPENSEARCH

    def __init__(self, options):
        self._library = opensearch()
        # It would write every error to stderr.
        logging.getLogger("opensearch").addHandler(logging.NullHandler())
        self._client = self._library.OpenSearch(retry_on_timeout=False, **options)

    def perform(self, method, path, params=None, body=None, retries=0):
        """See ElasticsearchClient."""
        library, transport = self._library, self._client.transport
        transport.max_retries = retries
        try:
            return transport.perform_request(method, path, params=params, headers=_JSON, body=body)
        except library.SerializationError as exc:
            # Something else answers there.
            raise Silence("unreachable", str(exc)) from None
        except library.ConnectionError as exc:
            raise Silence(kind_of(exc, library), str(exc.error)) from None
        except library.TransportError as exc:
            raise Refusal(exc.status_code, exc.info or exc.error) from None

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()


def kind_of(exc, library) -> str:
    """What an error of one of the libraries says about why there was no answer. Pure."""
    text = str(exc)
    if isinstance(exc, library.SSLError) or "SSL" in text or "certificate" in text:
        return "tls"
    return "timeout" if isinstance(exc, library.ConnectionTimeout) else "unreachable"


def elasticsearch():
    """The library. Raises ToolError saying how to get it."""
    try:
        # Not at the top: documentation and argument specs must load without it.
        import elasticsearch as library
    except ImportError:
        raise ToolError("The Python library elasticsearch is missing on this host.", reason="elasticsearch_missing",
                        hint="Install elasticsearch>=8.19,<9, for OpenSearch opensearch-py>=3,<4, and set "
                             "ansible_python_interpreter to the Python that has it.") from None
    if library.__version__[0] != 8:
        raise ToolError(f"The Python library elasticsearch is {library.__versionstr__}, which Elasticsearch 8 refuses.",
                        reason="elasticsearch_version", hint="Install elasticsearch>=8.19,<9; it speaks to 9 too. For OpenSearch install opensearch-py>=3,<4.")
    return library


def opensearch():
    """The library. Raises ToolError saying how to get it."""
    try:
        import opensearchpy as library
    except ImportError:
        raise ToolError("The Python library opensearch-py is missing on this host, and the cluster is not Elasticsearch.",
                        reason="opensearch_missing",
                        hint="Install opensearch-py>=3,<4 and set ansible_python_interpreter to the Python that has it.") from None
    return library


def open_client(options, place, retries) -> tuple:
    """(client, what GET / answers) of the cluster. options(): makes a client's. place: for messages.

    Elasticsearch's client is tried first where it is of use. Raises Refusal, Silence, ConnectError, ToolError.
    """
    useless = None
    try:
        return _asked(ElasticsearchClient(options()), retries)
    except OtherProduct:
        pass
    except ToolError as exc:
        useless = exc
    try:
        client = OpenSearchClient(options())
    except ToolError as exc:
        raise useless or exc from None
    client, root = _asked(client, retries)
    if isinstance(root, dict) and root.get("version", {}).get("distribution") == OPENSEARCH:
        return client, root
    client.close()
    raise useless or ConnectError(f"What answers at {place} is neither Elasticsearch nor OpenSearch.", reason="vendor",
                                  hint="Check the addresses of the hosts.")


def _asked(client, retries) -> tuple:
    """The client and what it is told at GET /."""
    try:
        return client, client.perform("GET", "/", retries=retries)
    except BaseException:
        client.close()
        raise
