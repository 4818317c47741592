"""``kronos serve``: forecasts over HTTP, and a web page. Needs the extra ``serve``: pip install 'kronos-forecast[serve]'.

From the ground up: `config` (settings, limits), `problems` (what callers are told when something is wrong), `schemas` (what they
may say), `inputs` and `uploads` (from JSON and files to tables), `bodies` (JSON checked), `reader_process` and `reader_pool` (both
in processes of their own), `work` (from a table to a job), `batching` (jobs into engine batches), `requests`, `responses`,
`middleware` (what stands before every request), `routes`, `app`, `server`.
"""
