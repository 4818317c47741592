"""``kronos serve``: forecasts over HTTP, and a web page. Needs the extra ``serve``: pip install 'kronos-forecast[serve]'.

From the ground up: `settings` (limits), `problems` (what callers are told when something is wrong), `schemas` (what they may
say), `bars` and `uploads` (from JSON and files to tables), `work` (from a table to a job), `batching` (jobs into engine batches),
`results` (from paths to JSON), `guard` (what stands before every request), `routes`, `app`, `server`.
"""
