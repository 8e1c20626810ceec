"""The exit codes of the command line, besides 0. docs/launch.md says what each launch script does about them."""

# The user can mend what is wrong; the last line of stderr says how.
EXIT_ERROR = 2
# A signal stopped the run, which is saved (EX_TEMPFAIL of sysexits.h): the same command resumes it.
EXIT_STOPPED = 75
# Another process of the run has ended, or this one was ended (EX_PROTOCOL of sysexits.h): all must be started again.
EXIT_LOST = 76
# A second Ctrl-C ended the run without saving it, as shells say it of SIGINT.
EXIT_INTERRUPTED = 130
