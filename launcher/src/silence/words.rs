//! Words of the kernel command line that make a guest silent.

use machine::boot::cmdline;

use crate::config::Config;

/// A word that leaves the guest without its devices, or without what they need.
struct Taking {
    parameter: &'static str,
    /// A value of the parameter, whose values are separated by commas. None if the parameter has
    /// no value.
    value: Option<&'static str>,
}

const fn taking(parameter: &'static str, value: Option<&'static str>) -> Taking {
    Taking { parameter, value }
}

/// The words that take the devices away. All devices are modern virtio devices on PCI, found
/// through ACPI, with message-signalled interrupts (MSI-X) only. Tried with Linux 6.1.
const TAKING: [Taking; 9] = [
    taking("pci", Some("off")),
    taking("pci", Some("nomsi")),
    taking("acpi", Some("off")),
    taking("acpi", Some("noirq")),
    taking("pci", Some("noacpi")),
    taking("nolapic", None),
    taking("disableapic", None),
    taking("module_blacklist", Some("virtio_pci")),
    taking("module_blacklist", Some("virtio_console")),
];

/// The warnings about the kernel command line: a line for each kind.
pub(super) fn warnings(config: &Config, consoles: usize) -> Vec<String> {
    let words: Vec<_> = cmdline::kernel_words(&config.arguments).collect();
    let mut warnings = Vec::new();
    let taking: Vec<_> = words.iter().filter(|word| takes_devices(word)).cloned().collect();
    if !taking.is_empty() {
        warnings.push(format!(
            "{} on the kernel command line: the guest cannot use its console, disks and network \
             cards: leave it out",
            taking.join(" ")
        ));
    }
    warnings.extend(timerless(&words));
    // The streams of a command have a console of their own.
    if config.exec.command.is_none() {
        warnings.extend(elsewhere(&words, consoles, config.earlycon));
    }
    warnings.extend(early(&words).filter(|_| !config.earlycon));
    warnings
}

fn takes_devices(word: &str) -> bool {
    let (parameter, values) = parts(word);
    TAKING.iter().filter(|taking| taking.parameter == parameter).any(|taking| match taking.value {
        Some(value) => values.split(',').any(|it| it == value),
        None => values.is_empty(),
    })
}

/// A warning if Linux must not use the timer of the local APIC: it uses no other one if the CPU's
/// time stamp counter is its clock.
fn timerless(words: &[String]) -> Option<String> {
    let word = words.iter().find(|word| parts(word) == ("nolapic_timer".into(), ""))?;
    Some(format!(
        "{word} on the kernel command line: the guest may have no timer, and hang: leave it out"
    ))
}

/// A parameter and its value. Linux does not distinguish - and _ in parameters.
fn parts(word: &str) -> (String, &str) {
    let (parameter, value) = word.split_once('=').unwrap_or((word, ""));
    (parameter.replace('-', "_"), value)
}

/// A warning if console= names only consoles that the guest does not have.
fn elsewhere(words: &[String], consoles: usize, serial: bool) -> Option<String> {
    let named = words.iter().filter(|word| word.starts_with("console="));
    let named: Vec<_> = named.map(String::as_str).collect();
    let exists = |word: &&str| {
        let device = word.trim_start_matches("console=");
        let device = device.split(',').next().unwrap_or_default();
        match device.strip_prefix("hvc") {
            Some(number) => number.parse().is_ok_and(|number: usize| number < consoles),
            // The user wants no console.
            None if ["", "null", "ttynull"].contains(&device) => true,
            None => serial && (device == "ttyS0" || device.starts_with("uart")),
        }
    };
    if named.is_empty() || named.iter().any(exists) {
        return None;
    }
    Some(format!(
        "{} on the kernel command line: the guest has no such device, and what it prints \
         there is lost: leave it out, or add console=hvc0",
        named.join(" ")
    ))
}

/// A warning if early messages are to go to a serial port, which needs an option.
fn early(words: &[String]) -> Option<String> {
    let word = words.iter().find(|word| {
        let (parameter, value) = parts(word);
        parameter == "earlycon" || (parameter == "earlyprintk" && !value.starts_with("vga"))
    })?;
    Some(format!(
        "{word} on the kernel command line: the guest has a serial port only with --earlycon, \
         which adds this word as well"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The warnings for a guest with one console, in one text.
    fn warned(words: &[&str]) -> String {
        warnings(&Config::of(words), 1).join("\n")
    }

    #[test]
    fn words_that_take_the_devices_away_are_named() {
        for word in [
            "pci=off",
            "pci=nomsi",
            "pci=noaer,nomsi",
            "acpi=off",
            "nolapic",
            "pci=nocrs,noacpi",
            "module-blacklist=virtio_console",
            "module_blacklist=floppy,virtio_pci",
        ] {
            let said = warned(&["quiet", word]);
            assert!(said.starts_with(&format!("{word} on the kernel command line: ")), "{said}");
            assert!(!said.contains('\n'), "{said}");
        }
        assert!(warned(&["acpi=off", "ro", "pci=off"]).starts_with("acpi=off pci=off on"));
    }

    #[test]
    fn a_word_that_takes_the_timer_away_is_named() {
        for word in ["nolapic_timer", "nolapic-timer"] {
            let said = warned(&["quiet", word]);
            assert!(said.starts_with(&format!("{word} on the kernel command line: ")), "{said}");
            assert!(said.contains("hang") && !said.contains('\n'), "{said}");
        }
        assert_eq!(warned(&["--", "--", "nolapic_timer"]), "");
    }

    #[test]
    fn other_words_give_no_warning() {
        for word in [
            "pci=noaer",
            "pci=nocrs",
            "acpi=force",
            "acpi=ht",
            "noapic",
            "offpci=off",
            "nolapic_timers",
            "nolapic_timer=off",
            "pci=offline",
            "module_blacklist=floppy",
            "virtio_pci.force_legacy=1",
        ] {
            assert_eq!(warned(&[word]), "", "{word}");
        }
        // These words are for init.
        assert_eq!(warned(&["--", "--", "pci=off", "console=ttyS0"]), "");
    }

    #[test]
    fn a_console_that_does_not_exist_is_named() {
        for (words, named) in [
            (&["console=ttyS0"][..], "console=ttyS0 on"),
            (&["console=tty0", "console=ttyS0,115200n8"], "console=tty0 console=ttyS0,115200n8 on"),
            (&["console=hvc1"], "console=hvc1 on"),
            (&["--earlycon", "console=ttyS1"], "console=ttyS1 on"),
        ] {
            assert!(warned(words).starts_with(named), "{words:?}: {}", warned(words));
        }
        for words in [
            &[][..],
            &["console=hvc0"],
            &["console=ttyS0", "console=hvc0"],
            &["console=hvc0", "console=ttyS0"],
            &["console="],
            &["console=null"],
            &["console=ttynull"],
            &["--earlycon", "console=ttyS0,115200"],
            &["--exec=true", "console=ttyS0"],
        ] {
            assert_eq!(warned(words), "", "{words:?}");
        }
        let two = warnings(&Config::of(&["console=hvc1"]), 2);
        assert_eq!(two, [""; 0]);
    }

    #[test]
    fn early_messages_need_a_serial_port() {
        for word in ["earlycon", "earlycon=uart8250,io,0x3f8", "earlyprintk=ttyS0,115200"] {
            assert!(warned(&[word]).contains("only with --earlycon"), "{word}");
            assert_eq!(warned(&["--earlycon", word]), "");
        }
        assert_eq!(warned(&["earlyprintk=vga"]), "");
    }
}
