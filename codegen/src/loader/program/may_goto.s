; The loader program: executes the step table in the value of map 0. The format is in runtime/abi/src/loader.rs.
;
; The kernel verifies each loop once for all iterations, because no register except r6 and r7 has a value from the
; previous iteration: the position is in the value. An offset is compared with LIMIT, the size of the value minus its
; tail, before it is added to r7, and no operation accesses more bytes than the tail has.

.include enter.s

next_pointer:
    may_goto interrupted
.include pointer.s
    goto next_pointer

misplaced:
    r0 = -EINVAL
    goto failed

pointed:
next:
    may_goto interrupted
.include step.s

failed:
.include report.s
next_slot:
    may_goto interrupted
.include slot.s
    goto next_slot

closed:
    r0 = FAILED
    exit
finished:
    r0 = FINISHED
    exit
interrupted:
    r0 = INTERRUPTED
    exit
rejected:
    r0 = REJECTED
    exit
