"""Counts what schemathesis asks of the report worker (`cargo xtask contract`), by how it was answered, and says so at the end."""

import atexit
from collections import Counter

import schemathesis

answers = Counter()


@schemathesis.hook
def after_call(context, case, response):
    answers[response.status_code] += 1


@atexit.register
def tell():
    by_status = ", ".join(f"{count} with {status}" for status, count in sorted(answers.items()))
    print(f"{answers.total()} requests were answered: {by_status}")
