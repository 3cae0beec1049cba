"""One module a benchmark: ``cases(options)`` yields what is measured."""
