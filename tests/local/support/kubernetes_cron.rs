//! The library that reads the schedule of a CronJob, as a process that answers questions
//! (hack/cluster/kubernetes/cron).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use jiff::Timestamp;

pub(crate) struct KubernetesCron {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl KubernetesCron {
    /// Starts the process. Go builds it, or takes it from its cache.
    pub(crate) fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/cluster/kubernetes");
        let mut process = Command::new("go")
            .args(["run", "./cron"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("go is installed");
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { questions: process.stdin.take(), process, answers }
    }

    /// Returns the first time after each of the given times at which the expression fires; `None` where that
    /// is not within five years. Fails with the library's error if the expression is invalid.
    pub(crate) fn next(
        &mut self,
        expression: &str,
        zone: &str,
        times: &[Timestamp],
    ) -> Result<Vec<Option<Timestamp>>, String> {
        let times: Vec<String> = times.iter().map(|time| time.as_second().to_string()).collect();
        let questions = self.questions.as_mut().unwrap();
        writeln!(questions, "{zone}\t{}\t{expression}", times.join(",")).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let answer = answer.trim_end();
        if let Some(error) = answer.strip_prefix("invalid\t") {
            return Err(error.to_owned());
        }
        let time = |text: &str| match text.parse().unwrap() {
            0 => None,
            seconds => Some(Timestamp::from_second(seconds).unwrap()),
        };
        Ok(answer.split(',').map(time).collect())
    }
}

/// Ends the process: it reads to the end of its input.
impl Drop for KubernetesCron {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}
