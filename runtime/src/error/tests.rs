//! Errors are safe to print, and kinds follow from error numbers and steps.

use super::*;

fn errno(number: i32) -> Errno {
    Errno::from_raw(number)
}

/// Names come from objects, `/proc` and `/sys`, and a log contains names of the object's types and functions.
#[test]
fn errors_can_be_shown_on_a_terminal() {
    let hostile = "x\ncargo::warning=\r\u{1b}]0;\u{7}\u{9b}\u{202e}\t\0";
    let earlier = Error::invalid(format_args!("BTF `{hostile}`")).log(Some(format!("before {hostile}")));
    let error = Error::refused(format_args!("map `{hostile}`"), errno(libc::EINVAL))
        .within(format_args!("object `{hostile}`"))
        .about(Subject::Map(hostile))
        .note(format_args!("the kernel has `{hostile}`"))
        .with_help(format_args!("rename `{hostile}`"))
        .details(format_args!("    1  {}\n    2", Line(hostile)))
        .after("before", &earlier.to_string())
        .log(Some(format!("1:\tr0 = 0\n{hostile}\n2: exit\n")));
    for shown in [error.to_string(), format!("{error:?}"), error.help().unwrap_or_default().to_owned()] {
        assert!(shown.chars().all(|c| crate::escape::is_visible(c) || "\n\t".contains(c)), "{shown:?}");
        assert!(!shown.starts_with("cargo::"), "{shown}");
    }
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let escaped = Line(hostile).to_string();
    assert_eq!(lines[0], format!("object `{escaped}`: map `{escaped}`: EINVAL (Invalid argument)"));
    assert_eq!(lines[1], format!("  note: the kernel has `{escaped}`"));
    assert_eq!(lines[2], format!("  help: rename `{escaped}`"));
    assert!(text.contains("\n    1:\tr0 = 0\n"), "{text}");
    assert_eq!(error.verifier_log().map(|log| log.contains(hostile)), Some(true));
    assert_eq!(error.subject(), Some(Subject::Map(hostile)));
}

#[test]
fn every_note_is_kept() {
    let error = Error::refused("loading", errno(libc::EINVAL))
        .general_help("read the manual")
        .note("one")
        .with_help("two")
        .note("three")
        .with_help("four");
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines, ["  note: one", "  help: two", "  note: three", "  help: four"]);
    assert_eq!(error.help(), Some("two"));
}

#[test]
fn general_help_yields_to_notes() {
    let general = || Error::refused("attaching", errno(libc::EPERM)).general_help("become root");
    assert_eq!(general().help(), Some("become root"));
    assert!(general().to_string().ends_with("\n  help: become root"));
    let known = general().note("lockdown forbids it");
    assert_eq!(known.help(), None);
    assert!(!known.to_string().contains("become root"), "{known}");
}

#[test]
fn kinds_follow_from_error_numbers_and_steps() {
    let kind = |number, step| Error::refused("request", errno(number)).during(step).kind();
    assert_eq!(kind(libc::EPERM, Step::LoadProgram), ErrorKind::NotPermitted);
    assert_eq!(kind(libc::EACCES, Step::WriteMap), ErrorKind::NotPermitted);
    assert_eq!(kind(libc::E2BIG, Step::WriteMap), ErrorKind::LimitReached);
    assert_eq!(kind(libc::ENOENT, Step::Open), ErrorKind::NotFound);
    assert_eq!(kind(libc::EEXIST, Step::Pin), ErrorKind::AlreadyExists);
    assert_eq!(kind(libc::EBUSY, Step::Attach), ErrorKind::Busy);
    assert_eq!(kind(libc::EOPNOTSUPP, Step::Attach), ErrorKind::Unsupported);
    assert_eq!(kind(libc::EINVAL, Step::Attach), ErrorKind::Refused);

    // With a verifier log, the error number does not matter.
    let rejected = |number, step, log: &str| {
        Error::refused("loading", errno(number)).during(step).log(Some(log.to_owned())).kind()
    };
    for number in [libc::EINVAL, libc::EACCES, libc::E2BIG, libc::ENOENT] {
        assert_eq!(rejected(number, Step::LoadProgram, "0: exit"), ErrorKind::VerifierRejected);
        assert_ne!(rejected(number, Step::LoadProgram, " \n"), ErrorKind::VerifierRejected);
        assert_ne!(rejected(number, Step::Attach, "0: exit"), ErrorKind::VerifierRejected);
    }
    assert_eq!(rejected(libc::EPERM, Step::LoadProgram, "0: exit"), ErrorKind::NotPermitted);
}

#[test]
fn explicit_kinds_override_derived_ones() {
    let error = Error::refused("attaching", errno(libc::EINVAL)).needs(LinuxVersion::new(6, 6));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.needs_linux().map(|version| version.to_string()), Some("6.6".to_owned()));

    let error = Error::no_cpu("map `m`", 99).about(Subject::Map("m"));
    assert_eq!((error.kind(), error.impossible_cpu()), (ErrorKind::NoSuchCpu, Some(99)));
    assert_eq!(error.errno(), Some(errno(libc::ERANGE)));
    // An offline CPU is possible.
    let offline = Error::refused("event", errno(libc::ENODEV)).about(Subject::Cpu(3));
    assert_eq!(offline.impossible_cpu(), None);
}

#[test]
fn subjects_are_ordered_from_the_inside_out() {
    let error = Error::not_found("no such function")
        .during(Step::FindSymbol)
        .about(Subject::Symbol("do_foo"))
        .during(Step::LoadProgram)
        .about(Subject::Program("count"))
        .about(Subject::Program("count"));
    assert_eq!(error.step(), Step::FindSymbol);
    assert_eq!(error.subject(), Some(Subject::Symbol("do_foo")));
    assert_eq!(error.subjects().collect::<Vec<_>>(), [Subject::Symbol("do_foo"), Subject::Program("count")]);
    let part = Error::refused("attaching", errno(libc::ENODEV))
        .about(Subject::Program("count"))
        .about_part(Subject::Interface(7));
    assert_eq!(part.subjects().collect::<Vec<_>>(), [Subject::Interface(7), Subject::Program("count")]);
}

#[test]
fn files_have_a_source() {
    let source = |error: &Error| std::error::Error::source(error)?.downcast_ref::<io::Error>().map(io::Error::kind);
    let os = Error::io("reading", &io::Error::from_raw_os_error(libc::ENOENT));
    assert_eq!((os.kind(), os.errno()), (ErrorKind::NotFound, Some(errno(libc::ENOENT))));
    assert_eq!(source(&os), Some(io::ErrorKind::NotFound));
    let text = Error::io("reading", &io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"));
    assert_eq!((text.kind(), text.errno()), (ErrorKind::Malformed, None));
    assert_eq!(source(&text), Some(io::ErrorKind::InvalidData));
    assert_eq!(Error::io("reading", &io::Error::from_raw_os_error(libc::ENOTTY)).kind(), ErrorKind::Io);
    assert_eq!(source(&Error::refused("loading", errno(libc::EINVAL))), None);

    assert_eq!(io::Error::from(os).kind(), io::ErrorKind::NotFound);
    assert_eq!(io::Error::from(Error::unsupported("it")).kind(), io::ErrorKind::Unsupported);
}
