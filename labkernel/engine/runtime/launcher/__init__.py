"""The process that gives birth to containers. All that is imported here is the standard library and
`engine.linux`.

It has one thread and little memory, because a fork copies the page tables of all the memory there is, and
because no fork is safe beside other threads. Read `process` for its life, and `birth` for a container's: from
the clone that makes its first process to the execution of its command.
"""
