"""Every machine word `code` that a refusal may carry, by status, with its meaning.

The raise sites are the truth: `tests/contract/test_codes.py` reads them all from the source and
compares. The OpenAPI document and docs/errors.md are made from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[int, Mapping[str, str]] = {
    400: {
        "bad_idempotency_key": "Idempotency-Key is empty, over-long or not printable ASCII",
        "bad_if_match": "If-Match is not one quoted version",
        "duplicate_header": "a header is given twice",
        "duplicate_key": "a key of an object, or a query parameter, is given twice",
        "empty_body": "there are no bytes",
        "incomplete_frame": "the input of a stream ends within a frame",
        "malformed_json": "the body is not strict JSON, or is nested too deep",
        "too_many_keys": "a JSON body has too many fields",
    },
    403: {"origin_not_allowed": "a page of another origin opens a WebSocket"},
    404: {
        "folder_not_found": "the model's folder cannot be opened",
        "model_not_found": "there is no model of that name",
        "route_not_found": "there is no such path",
        "version_not_found": "there is no such version on disk",
        "version_not_retained": "that version is not kept; the message names those that are",
    },
    405: {"method_not_allowed": "the path has other methods; see the header Allow"},
    406: {"not_acceptable": "Accept allows no media type that is written here"},
    409: {
        "idempotency_in_progress": "the same request is being carried out; ask again shortly",
        "model_exists": "the name is taken",
        "version_exists": "that version is on disk already",
    },
    412: {"version_mismatch": "the version is not that of If-Match or require_version"},
    413: {
        "body_too_large": "the body has too many bytes",
        "too_many_rows": "the body has too many rows",
        "version_too_large": "the files of a version have too many bytes",
    },
    415: {
        "unsupported_content_encoding": "the body is compressed",
        "unsupported_media_type": "no codec of this route reads that Content-Type",
    },
    422: {
        "artifact_incompatible": "the weights do not fit the layer, or are no known one",
        "artifact_invalid": "a weights file is damaged, or of a form that is never read",
        "config_invalid": "a config names something unknown or gives it a bad argument",
        "dimensions_unsupported": "`dimensions` of a model that is not nested",
        "empty_batch": "an array holds no numbers",
        "environment_changed": "the last changes were computed elsewhere, and differ here",
        "field_not_used": "the loss does not use this field",
        "idempotency_key_reused": "this Idempotency-Key was used for another request",
        "idempotency_unsupported": "this route takes no Idempotency-Key",
        "if_match_unsupported": "a stream takes no If-Match",
        "invalid_base64": "`data` is not base64",
        "journal_invalid": "the journal is damaged; the message names the file and the way out",
        "length_mismatch": "the bytes are more or fewer than shape and dtype say",
        "malformed_npy": "the body is not a whole .npy file of a known form",
        "malformed_safetensors": "the body is not a whole safetensors file",
        "missing_field": "a field that is needed is not there",
        "model_name_invalid": "the name has another form than model names have",
        "non_finite_input": "a number is NaN or infinite",
        "non_finite_output": "a reduced vector would be out of range",
        "out_of_range": "a number is outside its bounds, or a word is none of those allowed",
        "ragged_rows": "nested lists are not of one length, or not of one depth",
        "replay_diverged": "a change in the journal gives other bits than it gave",
        "replay_failed": "a change in the journal cannot be made again",
        "sample_weights_invalid": "sample_weights of another shape, negative, or all zero",
        "shape_mismatch": "rows of hidden_states are not input_size wide",
        "shape_overflow": "a shape has more elements than can be counted",
        "step_rejected": "a guard refused the step; the message says which, and why",
        "target_shape_mismatch": "targets are not of the shape of the reduced vectors",
        "too_many_dimensions": "an array has too many dimensions",
        "unknown_field": "a field or query parameter that this route does not know",
        "unsupported_dtype": "a dtype that is not read here",
        "wrong_type": "a value is not of its JSON type",
    },
    429: {
        "errors_unread": "a stream's sender does not read its refusals",
        "overloaded": "too many reduces are in flight",
        "queue_full": "too many train steps of this model are waiting",
    },
    500: {"internal": "a fault of the server; the request id finds it in the log"},
    503: {
        "draining": "the server is shutting down, or the model is being deleted",
        "model_not_loaded": "the model's folder is damaged; the message says how",
        "not_ready": "models are still loading",
        "out_of_memory": "the device has no memory for this",
        "outcome_unknown": "the server ended before this was settled: ask its state, then decide",
        "read_only": "the models directory cannot be written",
        "storage_failed": "the disk failed",
        "stream_stopped": "an earlier record of the stream was refused; this one was not applied",
        "training_failed": "a change could not be undone; training is off until a restart",
        "version_damaged": "the folder of that version is not what was written",
    },
    507: {"storage_full": "the disk has no room"},
}

# Never answered over HTTP: the process says them as it ends.
PROCESS_CODES: Mapping[str, str] = {
    "address_unavailable": "host and port cannot be listened on",
    "device_unavailable": "the device of the settings is not there",
    "models_dir_locked": "another process serves this models directory",
    "models_dir_unusable": "the models directory cannot be opened or locked",
    "not_saved": "at the end: the last checkpoint could not be written",
    "settings_invalid": "a variable or flag has a bad value",
    "start_failed": "loading the models failed; the log says why",
}
