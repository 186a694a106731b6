"""The examination: puts exams, rules, trials and the diagnosis in order. The only module that knows them all."""
