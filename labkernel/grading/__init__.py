"""Grading: many submissions, each run in a sandbox of its own and checked from outside.

    SUBMISSIONS -- submissions, learners   who handed in what, whatever it is and however it is named
                   rebuild                 the instructor's notebook with the learner's answers
                   submission_run          its cells, in a sandbox; its checks, from outside
                   grade                   all of them, several at a time; what is left when run again
    DIR         -- records                 results/NAME.json at once, and what is remembered of them
                   gradebook, feedback     gradebook.csv, and a page for each learner

An error of ours is never a zero: its points are null, and it is graded again the next time.
"""
