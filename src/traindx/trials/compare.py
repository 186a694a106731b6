"""Judging a claimed fix: two cases, paired runs, and one of five words for what the fix did."""
