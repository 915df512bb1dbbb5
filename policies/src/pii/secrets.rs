//! Keys that open something, by the forms their makers gave them so that they can be found.

use super::window::Window;

/// What may follow `-----BEGIN ` before `PRIVATE KEY-----`: `ENCRYPTED `, `OPENSSH `, `RSA `.
const MAX_KEY_KIND_BYTES: usize = 24;

/// What the rest of a key consists of.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// Letters, digits, `_` and `-`, at least so many.
    Token(usize),
    /// Capitals and digits, exactly so many.
    Capitals(usize),
}

/// What keys begin with.
const FORMS: &[(&[u8], Rest)] = &[
    (b"sk-ant-", Rest::Token(20)),     // Anthropic
    (b"mw_", Rest::Token(32)),         // MindWeave
    (b"AKIA", Rest::Capitals(16)),     // AWS, long-lived
    (b"ASIA", Rest::Capitals(16)),     // AWS, temporary
    (b"ghp_", Rest::Token(36)),        // GitHub: personal,
    (b"gho_", Rest::Token(36)),        // OAuth,
    (b"ghu_", Rest::Token(36)),        // user to server,
    (b"ghs_", Rest::Token(36)),        // server to server,
    (b"github_pat_", Rest::Token(36)), // fine-grained
    (b"glpat-", Rest::Token(20)),      // GitLab
    (b"xoxb-", Rest::Token(20)),       // Slack: bot,
    (b"xoxp-", Rest::Token(20)),       // user
    (b"sk_live_", Rest::Token(16)),    // Stripe
    (b"AIza", Rest::Token(35)),        // Google
];

/// Whether a key begins here.
pub(super) fn begins(window: &Window<'_>, at: usize) -> bool {
    if !window.begins_word(at) {
        return false;
    }
    if window.at(at) == Some(b'-') {
        return is_private_key(window, at);
    }
    FORMS.iter().any(|(head, rest)| {
        let follows = at.saturating_add(head.len());
        window.slice(at, head.len()) == Some(*head)
            && match *rest {
                Rest::Token(least) => window.run(follows, least, is_token) == least,
                Rest::Capitals(exactly) => {
                    window.run(follows, exactly, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
                        == exactly
                        && window.ends_word(follows.saturating_add(exactly))
                }
            }
    })
}

/// RFC 7468, and OpenSSH's variant of it.
fn is_private_key(window: &Window<'_>, at: usize) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"PRIVATE KEY-----";
    if window.slice(at, BEGIN.len()) != Some(BEGIN) {
        return false;
    }
    let kind = at.saturating_add(BEGIN.len());
    (0..=MAX_KEY_KIND_BYTES).any(|skip| window.slice(kind.saturating_add(skip), END.len()) == Some(END))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
