"""The report: each experiment of the paper beside ours, from results/*.json alone.

    ledger  the published numbers, where ours are, why the two differ
    page    the HTML page, report.json, model card and data sheet
"""
