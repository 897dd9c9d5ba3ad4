"""Errors as answers: JSON with one line, `detail`."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from promptseg.errors import PromptsegError


def add_errors(app: FastAPI, statuses: Mapping[type[PromptsegError], int]) -> None:
    """Let an application answer with the line of an error: 422, or the status of its class."""

    @app.exception_handler(PromptsegError)
    def refused(request: Request, error: PromptsegError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, statuses.get(type(error), 422))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        lines = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return JSONResponse({"detail": "; ".join(lines)}, 422)

    @app.exception_handler(OSError)
    def failed(request: Request, error: OSError) -> JSONResponse:
        return JSONResponse({"detail": f"{error.filename or 'a file'}: {error.strerror}; nothing was changed"}, 500)
