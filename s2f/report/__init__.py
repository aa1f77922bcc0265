"""The report: each experiment of the paper beside ours, from results/*.json alone.

    ledger      the published numbers, where ours are, why the two differ
    estimates   every number with its interval, over speakers and over trainings
    headlines   the dozen that stand for the study, the conclusions drawn from them
    compare     a run beside another: whether it is a reproduction
    dvc_tables  the headlines and tables as DVC shows them
    page        the HTML page, report.json, model card and data sheet
"""
