//! The verifier's message about a rejected program. The error number alone misleads: `EACCES` looks like a missing permission.

use super::Executor;
use super::assemble::functions;
use crate::abi::Program;
use crate::error::{Errno, Error};

/// The beginnings of the lines with statistics, which follow the message.
const STATISTICS: [&str; 5] = ["processed ", "verification time ", "stack depth ", "max_states", "mark_read "];

impl Executor {
    /// Adds a note with the verifier's message, and one if the log shows a form of the program that the user did not write.
    pub(super) fn with_verdict(
        &self,
        error: Error,
        program: &'static Program,
        errno: Errno,
        log: Option<&str>,
    ) -> Error {
        let Some(log) = log.filter(|log| errno.raw() != libc::EPERM && !log.trim().is_empty()) else { return error };
        let error = error.note(verdict(log));
        let is_emulated = self.emulate
            && functions(self.object, program)
                .any(|(_, function)| function.is_ok_and(|function| function.emulated.is_some()));
        if is_emulated { error.note("the log shows the program in the form that emulates percpu data") } else { error }
    }
}

/// Returns a sentence with the verifier's message and the source line that it is about, as far as the log has them.
fn verdict(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim).collect();
    let is_message = |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start));
    let message = lines.iter().rposition(is_message).filter(|&at| !is_trace(lines[at]));
    let Some(at) = message else {
        return "the verifier rejected the program; the end of its log has the reason".to_owned();
    };
    let source = lines[..at].iter().rev().find_map(|line| line.strip_prefix("; "));
    let source = source.map_or_else(String::new, |source| format!(", at `{source}`"));
    format!("the verifier rejected the program: {}{source}", lines[at])
}

/// Returns whether a line of a log shows an instruction, the registers, or a source line, instead of a message.
fn is_trace(line: &str) -> bool {
    let number = line.split_once(':').map(|(number, _)| number);
    line.starts_with(';') || number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_logs() {
        let log = "0: R1=ctx() R10=fp0\n; return *value; @ count.bpf.c:12\n3: (61) r0 = *(u32 *)(r0 +0)\n\
            R0 invalid mem access 'map_value_or_null'\nprocessed 4 insns (limit 1000000) max_states_per_insn 0\n";
        let message = "the verifier rejected the program: R0 invalid mem access 'map_value_or_null'";
        assert_eq!(verdict(log), format!("{message}, at `return *value; @ count.bpf.c:12`"));
        let times = "verification time 7 usec\nstack depth 0\nprocessed 1 insns\n\n";
        assert_eq!(verdict(&format!("R0 invalid mem access 'map_value_or_null'\n{times}")), message);
        for log in ["", times, "; return 0;\n0: (95) exit\nprocessed 1 insns"] {
            assert_eq!(verdict(log), "the verifier rejected the program; the end of its log has the reason");
        }
    }
}
