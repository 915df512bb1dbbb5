use std::time::Duration;

use mindweave_test_servers::Smtp;

use super::*;

fn settings(server: &Smtp, url: &str) -> MailSettings {
    MailSettings {
        smtp_url: SmtpUrl::parse(url).unwrap(),
        from: Sender::parse("MindWeave <mindweave@example.com>").unwrap(),
        ca_file: Some(server.ca_file()),
    }
}

fn mail(to: &str, text: &str) -> Mail {
    Mail { to: to.to_owned(), subject: "Gr\u{fc}\u{df}e".to_owned(), text: text.to_owned() }
}

async fn smtp() -> Smtp {
    tokio::task::spawn_blocking(Smtp::start).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_goes_over_starttls_with_a_login_and_arrives_as_it_was_written() {
    let server = smtp().await;
    let (mailer, delivery) = Mailer::start(settings(&server, &server.url()), std::future::pending()).unwrap();
    let running = tokio::spawn(delivery);
    let link = format!("https://mindweave.example.com/auth/reset?token=mwo_{}", "x".repeat(120));
    let text = format!("Sch\u{f6}ne Gr\u{fc}\u{df}e:\n\n{link}\n\nEnde.\n");
    mailer.send(mail("ada@example.com", &text)).unwrap();
    let arrived = tokio::task::block_in_place(|| server.wait_for("ada@example.com", 1)).remove(0);
    assert_eq!((&*arrived.from, &*arrived.subject), ("mindweave@example.com", "Gr\u{fc}\u{df}e"));
    assert_eq!(arrived.text.trim_end(), text.trim_end(), "a long link is not broken");
    assert!(arrived.protected);
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_waits_for_a_server_that_is_away_and_one_that_is_refused_keeps_no_other() {
    let server = smtp().await;
    let (mailer, delivery) = Mailer::start(settings(&server, &server.url()), std::future::pending()).unwrap();
    let running = tokio::spawn(delivery);
    tokio::task::block_in_place(|| server.stop());
    for to in ["nobody@example.com", "not an address", "ada@example.com"] {
        mailer.send(mail(to, "Hello")).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await; // the first attempts are over
    tokio::task::block_in_place(|| server.start_again());
    let arrived = tokio::task::block_in_place(|| server.wait_for("ada@example.com", 1));
    assert_eq!(arrived.len(), 1);
    assert_eq!(server.mails().len(), 1, "the refused one is given up");
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_server_of_another_authority_or_in_the_clear() {
    let server = smtp().await;
    let trusted = settings(&server, &server.url());
    let strange = MailSettings { ca_file: None, ..trusted.clone() };
    let clear = MailSettings {
        smtp_url: SmtpUrl::parse(&format!("{}?tls=none", server.url())).unwrap(),
        ..trusted.clone()
    };
    let wrong = settings(&server, &server.url_with_wrong_password());
    let mut deliveries = tokio::task::JoinSet::new();
    for settings in [strange, clear, wrong] {
        let (mailer, delivery) = Mailer::start(settings, std::future::pending()).unwrap();
        deliveries.spawn(delivery);
        mailer.send(mail("ada@example.com", "Hello")).unwrap();
    }
    let (mailer, delivery) = Mailer::start(trusted, std::future::pending()).unwrap();
    deliveries.spawn(delivery);
    mailer.send(mail("grace@example.com", "Hello")).unwrap();
    tokio::task::block_in_place(|| server.wait_for("grace@example.com", 1));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.mails().iter().all(|mail| mail.to == ["grace@example.com"]), "{:?}", server.mails());
}

#[tokio::test]
async fn a_full_queue_takes_no_more_and_nobody_waits() {
    // Nothing listens there: mails stay.
    let settings = MailSettings {
        smtp_url: SmtpUrl::parse("smtp://127.0.0.1:1?tls=none").unwrap(),
        from: Sender::parse("mindweave@example.com").unwrap(),
        ca_file: None,
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (mailer, delivery) = Mailer::start(settings, async { drop(stopped.await) }).unwrap();
    let running = tokio::spawn(delivery);
    for _ in 0..MAX_QUEUED_MAILS {
        mailer.send(mail("ada@example.com", "Hello")).unwrap();
    }
    assert_eq!(mailer.send(mail("ada@example.com", "Hello")), Err(NotQueued::Full));
    assert_eq!(Mailer::none().send(mail("ada@example.com", "Hello")), Err(NotQueued::NotConfigured));
    stop.send(()).unwrap();
    running.await.unwrap();
}
