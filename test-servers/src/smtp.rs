//! A mail server of the test's own: aiosmtpd, which speaks STARTTLS and wants a login.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::certificates::TestCa;
use crate::ports::Port;
use crate::process::Server;

/// The program, which aiosmtpd's Python runs.
const SINK: &str = include_str!("smtp/sink.py");
/// Who may log in. It guards nothing: the server listens on loopback for the length of a test.
const USER: &str = "mindweave@example.com";
/// See [`USER`]. Characters that an address has to escape are in it.
const PASSWORD: &str = "for/tests:only";
const ADVICE: &str = "It is aiosmtpd in a virtual environment: run `tests/run`, which installs it.";
/// How long a mail may take. Generous: other tests keep the machine busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mail that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// Whom the envelope says it is from.
    pub from: String,
    /// Whom it went to.
    pub to: Vec<String>,
    /// Decoded.
    pub subject: String,
    /// Decoded, with `\n` at line ends.
    pub text: String,
    /// Whether it came over TLS, after a login.
    pub protected: bool,
}

/// A running mail server; it ends and its folder goes when the value is dropped or its process ends.
pub struct Smtp {
    server: Server,
    port: Port,
    ca: TestCa,
}

impl Smtp {
    /// Starts a server.
    ///
    /// # Panics
    /// When it cannot start.
    pub fn start() -> Self {
        let port = Port::claim();
        let number = port.number();
        let python = installed().join("bin/python");
        assert!(python.is_file(), "{} is missing. {ADVICE}", python.display());
        let server = Server::guarded("the mail server", "mw-smtp", |folder| {
            let file = |name: &str| folder.join(name).into_os_string();
            vec![
                python.clone().into_os_string(),
                file("sink.py"),
                folder.as_os_str().to_owned(),
                number.to_string().into(),
                file("server.pem"),
                file("server.key"),
                USER.into(),
                PASSWORD.into(),
            ]
        });
        let folder = server.folder().to_owned();
        fs::write(folder.join("sink.py"), SINK).expect("a folder that can be written");
        let ca = TestCa::new(&folder.join("ca"));
        let certificate = ca.server();
        fs::copy(certificate.cert_file, folder.join("server.pem")).expect("a certificate");
        fs::copy(certificate.key_file, folder.join("server.key")).expect("a key");
        let smtp = Self { server, port, ca };
        smtp.start_again();
        smtp
    }

    /// Where it is, with user and password.
    pub fn url(&self) -> String {
        let escaped = |text: &str| text.replace('@', "%40").replace('/', "%2F").replace(':', "%3A");
        format!("smtp://{}:{}@localhost:{}", escaped(USER), escaped(PASSWORD), self.port.number())
    }

    /// The same with a password that is wrong.
    pub fn url_with_wrong_password(&self) -> String {
        format!("smtp://someone:wrong@localhost:{}", self.port.number())
    }

    /// The authority that made the server's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.ca.file()
    }

    /// Ends it; mails that arrived stay.
    pub fn stop(&self) {
        self.server.stop(Signal::TERM);
    }

    /// Starts it again after [`Self::stop`].
    pub fn start_again(&self) {
        self.server.start(ADVICE, |log| log.contains("takes mails"));
    }

    /// What arrived so far, oldest first.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        let Ok(files) = fs::read_dir(self.server.folder().join("mails")) else { return Vec::new() };
        let mut files: Vec<_> = files.map(|file| file.expect("a folder that can be read").path()).collect();
        files.sort();
        files.iter().map(|file| read(file)).collect()
    }

    /// Waits until so many mails to an address have arrived, and returns them.
    ///
    /// # Panics
    /// When they do not come in time.
    pub fn wait_for(&self, to: &str, count: usize) -> Vec<ReceivedMail> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mails: Vec<_> =
                self.mails().into_iter().filter(|mail| mail.to.iter().any(|found| found == to)).collect();
            if mails.len() >= count {
                return mails;
            }
            assert!(Instant::now() < end, "{} of {count} mails to {to} came: {mails:?}", mails.len());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl ReceivedMail {
    /// The token of the link in it.
    ///
    /// # Panics
    /// When there is none.
    pub fn token(&self) -> String {
        let (_, rest) = self.text.split_once("?token=").expect("a link with a token");
        rest.split_whitespace().next().expect("a token").to_owned()
    }
}

fn read(file: &Path) -> ReceivedMail {
    let text = fs::read_to_string(file).expect("a mail that can be read");
    let mail: serde_json::Value = serde_json::from_str(&text).expect("JSON of the mail server");
    let word = |name: &str| mail[name].as_str().unwrap_or_default().to_owned();
    let to = mail["to"].as_array().expect("receivers").iter();
    ReceivedMail {
        from: word("from"),
        to: to.map(|to| to.as_str().unwrap_or_default().to_owned()).collect(),
        subject: word("subject"),
        text: word("text").replace("\r\n", "\n"),
        protected: mail["encrypted"] == true && mail["login"] == true,
    }
}

/// Where `tests/run` installs it.
fn installed() -> PathBuf {
    let clients = std::env::var_os("MINDWEAVE_TEST_CLIENTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("target/clients"),
        PathBuf::from,
    );
    clients.join("smtp")
}
