//! What a process runs: its executable, or the script or module an interpreter was given.
//!
//! In: executable path, the name it was called by, command line, `comm`. Out: a short name for people, a longer one for identity, the language where it is known.

use crate::model::Process;

/// A process' program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program<'a> {
    /// `service.name` if nothing better is known.
    pub(super) name: &'a str,
    /// What tells it from others on its host: path of the executable, the script as given, the module.
    pub(super) path: &'a str,
    /// `telemetry.sdk.language`.
    pub(super) language: Option<&'static str>,
}

/// An interpreter's way to be told what to run.
struct Interpreter {
    /// Executables: this, then nothing or a version (`3`, `3.11`, `8.2`).
    names: &'static [&'static str],
    language: Option<&'static str>,
    /// Options whose next argument is their value.
    valued: &'static [&'static str],
    /// Options whose next argument is what to run.
    named: &'static [&'static str],
    /// Options that give the program itself: there is no name then.
    inline: &'static [&'static str],
}

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["python", "pypy"],
        language: Some("python"),
        valued: &["-W", "-X", "--check-hash-based-pycs"],
        named: &["-m"],
        inline: &["-c", "-"],
    },
    Interpreter {
        names: &["node", "nodejs"],
        language: Some("nodejs"),
        valued: &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
            "-C",
            "--conditions",
            "--env-file",
        ],
        named: &[],
        inline: &["-e", "--eval", "-p", "--print", "-"],
    },
    Interpreter {
        names: &["java"],
        language: Some("java"),
        valued: &[
            "-cp",
            "-classpath",
            "--class-path",
            "-p",
            "--module-path",
            "--add-modules",
            "--add-opens",
            "--add-exports",
            "--add-reads",
            "--patch-module",
            "--upgrade-module-path",
            "--limit-modules",
            "--source",
        ],
        named: &["-jar", "-m", "--module"],
        inline: &[],
    },
    Interpreter {
        names: &["ruby", "jruby"],
        language: Some("ruby"),
        valued: &["-I", "-r", "-C", "-E", "-W"],
        named: &["-S"],
        inline: &["-e", "-"],
    },
    Interpreter {
        names: &["php"],
        language: Some("php"),
        valued: &["-c", "-d", "-t", "-z", "--php-ini", "--define", "--docroot"],
        named: &["-f", "--file"],
        inline: &["-r", "--run", "-S", "--server", "-B", "-R", "-"],
    },
    Interpreter { names: &["perl"], language: None, valued: &["-I", "-C"], named: &[], inline: &["-e", "-E", "-"] },
    Interpreter {
        names: &["sh", "bash", "dash", "ash", "zsh", "ksh"],
        language: None,
        valued: &["-o", "-O", "--rcfile", "--init-file"],
        named: &[],
        inline: &["-c", "-s", "-"],
    },
];

impl<'a> Program<'a> {
    pub(super) fn of(process: &'a Process) -> Self {
        let path = process.executable.strip_suffix(" (deleted)").unwrap_or(&process.executable);
        // One file may be several programs, told by the name they are called by (redis-server, BusyBox). Where the file's name
        // only adds a version or a variant to that (python3.13, php8.4, vim.basic), it says more.
        let called =
            Some(&*process.called).filter(|called| !called.is_empty() && !last(path).starts_with(last(called)));
        let path = called.unwrap_or(path);
        let name = last(path);
        if name.is_empty() {
            let comm = if process.comm.is_empty() { "unknown_service" } else { &process.comm };
            return Self { name: comm, path: comm, language: None };
        }
        let Some(interpreter) = INTERPRETERS.iter().find(|interpreter| interpreter.is(name)) else {
            let language = matches!(name, "dotnet").then_some("dotnet");
            return Self { name, path, language };
        };
        let language = interpreter.language;
        match interpreter.script(&process.args) {
            Some(script) => Self { name: last(script), path: script, language },
            None => Self { name, path, language },
        }
    }
}

impl Interpreter {
    fn is(&self, executable: &str) -> bool {
        self.names.iter().any(|name| {
            executable
                .strip_prefix(name)
                .is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        })
    }

    /// The first argument that is no option and no option's value, or what a naming option names.
    fn script<'a>(&self, args: &'a [String]) -> Option<&'a str> {
        let mut args = args.iter().skip(1).map(String::as_str);
        // Java reads `@file` as more arguments.
        let option: &[char] = if self.names == ["java"] { &['-', '@'] } else { &['-'] };
        while let Some(arg) = args.next() {
            if self.named.contains(&arg) {
                return args.next().filter(|name| !name.is_empty());
            }
            if self.inline.contains(&arg) || arg.is_empty() {
                return None;
            }
            if self.valued.contains(&arg) {
                args.next()?;
            } else if arg == "--" {
                return args.next();
            } else if !arg.starts_with(option) {
                return Some(arg);
            } else if self.cluster(arg) {
                return None;
            }
        }
        None
    }

    /// Single-letter options in one word that end in an inline one: `-ec`, `-ne`.
    fn cluster(&self, arg: &str) -> bool {
        self.language.is_none()
            && arg.bytes().skip(1).all(|byte| byte.is_ascii_lowercase())
            && self.inline.iter().any(|inline| inline.len() == 2 && arg.ends_with(inline.trim_start_matches('-')))
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_after_what_they_run() {
        for (executable, args, name, language) in [
            ("/usr/sbin/nginx", "nginx: worker process", "nginx", None),
            ("/usr/bin/python3.13", "python3 /srv/shop/app.py --port 80", "app.py", Some("python")),
            ("/usr/bin/python3", "python3 -m http.server 8000", "http.server", Some("python")),
            ("/usr/bin/python3", "python3 -X dev -W error -u -m uvicorn main:app", "uvicorn", Some("python")),
            (
                "/usr/bin/python3.13",
                "/srv/venv/bin/python /srv/venv/bin/gunicorn -w 4 app:app",
                "gunicorn",
                Some("python"),
            ),
            ("/usr/bin/python3", "python3 -c print(1) x", "python3", Some("python")),
            ("/usr/bin/python3", "python3", "python3", Some("python")),
            ("/usr/bin/python3-config", "python3-config x", "python3-config", None),
            ("/usr/bin/node", "node --inspect -r ts-node/register dist/server.js", "server.js", Some("nodejs")),
            ("/usr/bin/node", "node -e 1", "node", Some("nodejs")),
            ("/usr/bin/java", "java -Xmx1g -cp /a:/b com.example.Main arg", "com.example.Main", Some("java")),
            ("/usr/bin/java", "java -Dx=y -jar /opt/shop/shop-1.2.jar --a", "shop-1.2.jar", Some("java")),
            ("/usr/bin/java", "java @args.txt -m shop/com.example.Main", "com.example.Main", Some("java")),
            ("/usr/bin/ruby3.3", "ruby -I lib bin/rails server", "rails", Some("ruby")),
            ("/usr/bin/perl", "perl -MPlack::Engine -w app.pl", "app.pl", None),
            ("/usr/bin/perl", "perl -ne print x", "perl", None),
            ("/usr/sbin/php-fpm8.4", "php-fpm: pool www", "php-fpm8.4", None),
            ("/usr/bin/php8.4", "php -d x=y -S 127.0.0.1:80", "php8.4", Some("php")),
            ("/usr/bin/php8.4", "php -f /srv/cron.php", "cron.php", Some("php")),
            ("/usr/bin/dash", "sh -x /srv/run.sh", "run.sh", None),
            ("/usr/bin/bash", "bash -ec sleep", "bash", None),
            ("/usr/sbin/nginx (deleted)", "nginx", "nginx", None),
        ] {
            let process = Process {
                executable: executable.to_owned(),
                args: args.split(' ').map(str::to_owned).collect(),
                ..Process::default()
            };
            let program = Program::of(&process);
            assert_eq!((program.name, program.language), (name, language), "{executable}: {args}");
        }
        for (executable, called, args, name) in [
            ("/usr/bin/redis-check-rdb", "/usr/bin/redis-server", "redis-server *:6379", "redis-server"),
            ("/bin/busybox", "/bin/sh", "sh /srv/run.sh", "run.sh"),
            ("/usr/bin/python3.13", "/usr/bin/python3", "python3 -c print(1)", "python3.13"),
            ("/usr/bin/php8.4", "/usr/bin/php", "php", "php8.4"),
            ("/usr/sbin/nginx", "", "nginx: worker process", "nginx"),
        ] {
            let process = Process {
                executable: executable.to_owned(),
                called: called.to_owned(),
                args: args.split(' ').map(str::to_owned).collect(),
                ..Process::default()
            };
            assert_eq!(Program::of(&process).name, name, "{executable} called {called}");
        }
        let comm = Process { comm: "kworker".to_owned(), ..Process::default() };
        assert_eq!(Program::of(&comm).name, "kworker");
        assert_eq!(Program::of(&Process::default()).name, "unknown_service");
    }
}
