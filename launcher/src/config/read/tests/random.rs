//! Random options: a file means the same as a command line.

use clap::Arg;

use super::super::super::arg_values::Shape;
use super::*;

/// A xorshift generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn word(&mut self) -> OsString {
        let letters = [
            "a",
            "=",
            "-",
            "--",
            ",",
            "\"",
            "'",
            "\\",
            "\n",
            "\r",
            "\t",
            " ",
            "#",
            "ä",
            "7",
            "0x",
            "[",
            "]",
            "{",
            "true",
            "\u{7f}",
            "\u{1}",
            "\u{1F600}",
            "'''",
            "\"\"\"",
            "\u{feff}",
        ];
        (0..self.below(5)).map(|_| letters[self.below(letters.len())]).collect::<String>().into()
    }

    /// Any of the options, with any values, whatever they mean.
    fn args(&mut self, definition: &Command) -> ArgValues {
        let mut args = ArgValues::default();
        for arg in options(definition).filter(|arg| arg.is_positional()) {
            let count = if Shape::of(arg) == Shape::Words { self.below(3) } else { 1 };
            self.add(&mut args, arg, count);
        }
        for arg in options(definition).filter(|arg| !arg.is_positional()) {
            let most = if Shape::of(arg) == Shape::Often { 4 } else { 2 };
            let count = self.below(most);
            self.add(&mut args, arg, count);
        }
        args
    }

    fn add(&mut self, args: &mut ArgValues, arg: &Arg, count: usize) {
        let values: Vec<_> = (0..count)
            .map(|_| match Shape::of(arg) {
                Shape::Switch => None,
                Shape::Once { optional: true } if self.below(2) == 0 => None,
                // An empty value counts as no value, for an option that may have none.
                Shape::Once { optional: true } => Some("x".into()),
                _ => Some(self.word()),
            })
            .collect();
        if !values.is_empty() {
            args.set(key(arg), values);
        }
    }
}

/// The definition without the parsers of values: the file depends on the shapes only.
fn any_value(definition: &Command) -> Command {
    definition.clone().mut_args(|arg| match Shape::of(&arg) {
        Shape::Switch => arg,
        _ => arg.value_parser(clap::value_parser!(OsString)),
    })
}

#[test]
fn random_options_mean_the_same_in_words_and_files() {
    let definition = any_value(&definition());
    for seed in 1..2000 {
        let mut random = Random(seed * 0x9E37_79B9);
        let args = random.args(&definition);
        let mut all = words(&["lguest"]);
        all.extend(args.words(&definition));
        let (again, _) = ArgValues::from_words(&definition, &all).unwrap();
        assert_eq!(again, args, "seed {seed}: {all:?}");
        let text = toml::write(&args, &definition).unwrap();
        assert_eq!(toml::read(&text, &definition), Ok(args), "seed {seed}:\n{text}");
    }
}

#[test]
fn the_printed_file_gives_the_same_launch() {
    let values = |key: &str| -> &[&str] {
        match key {
            "memory" => &["512", "2G"],
            "kernel" | "initrd" | "chroot" => &["a b", "/x"],
            "cpus" => &["3"],
            "block" => &["a,,b,ro", "d,serial=x y", "e"],
            "tunnet" => &["192.168.1.1:02:00:00:12:34:56", "tap:t,queues=2"],
            "console" => &["stdio", "file=x,append", "sock,name=y"],
            "arguments" => &["--x", "a=\"b c\"", "--"],
            "rng" => &["/dev/hwrng"],
            "username" | "name" => &["nobody"],
            _ => &[],
        }
    };
    let definition = definition();
    let mut compared = 0;
    for seed in 1..500 {
        let mut random = Random(seed * 0x9E37_79B9);
        let mut args = ArgValues::default();
        for arg in options(&definition) {
            let known = values(key(arg));
            let count = match Shape::of(arg) {
                Shape::Often | Shape::Words => random.below(4),
                _ => usize::from(arg.is_required_set() || random.below(2) == 0),
            };
            let value = |random: &mut Random| match known {
                [] => None,
                known => Some(known[random.below(known.len())].into()),
            };
            // The values that another option needs are not known here.
            if count > 0 && (Shape::of(arg) == Shape::Switch || !known.is_empty()) {
                args.set(key(arg), (0..count).map(|_| value(&mut random)).collect());
            }
        }
        let mut line = words(&["lguest"]);
        line.extend(args.words(&definition));
        // The tests of other options cover those that conflict.
        let Ok(parsed) = read(definition.clone(), line.clone()) else { continue };
        let direct = format!("{:?}", launch(Ok(parsed)));
        line.insert(1, "--print-config".into());
        let ParsedCommand::Print(text) = read(definition.clone(), line).unwrap() else {
            panic!("not printed")
        };
        let file = file(&text);
        let path = file.path().to_str().unwrap();
        let through =
            format!("{:?}", launch(read(definition.clone(), words(&["lguest", "--config", path]))));
        let named = format!("config: Some({path:?})");
        assert_eq!(through.replace(&named, "config: None"), direct, "{text}");
        compared += 1;
    }
    assert!(compared > 10);
}
