//! A program with its arguments, as one text: no shell reads it.

use super::setting::Setting;

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// Looked for on the search path unless it has a slash.
    pub(crate) program: String,
    /// In their order.
    pub(crate) arguments: Vec<String>,
}

impl Setting for CommandLine {
    fn allowed() -> String {
        "a program and its arguments with blanks between them; quotes keep blanks together, and no shell reads it"
            .to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = words(text)?.into_iter();
        let program = words.next().filter(|program| !program.is_empty())?;
        Some(Self { program, arguments: words.collect() })
    }
}

/// Takes a line apart at blanks outside of quotes. Nothing else means anything: no variables, no backslashes. `None` where a quote
/// has no end.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote): (Vec<String>, Option<String>, Option<char>) =
        (Vec::new(), None, None);
    for char in text.chars() {
        match (quote, char) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_blanks_outside_of_quotes_and_nothing_else_means_anything() {
        for (text, expected) in [
            ("kms decrypt --key k", &["kms", "decrypt", "--key", "k"][..]),
            ("  /bin/a\t'b c'  \"d 'e'\" ", &["/bin/a", "b c", "d 'e'"]),
            ("a b'c d'e \"\"", &["a", "bc de", ""]),
            (r"a $HOME `x` \n ; | >", &["a", "$HOME", "`x`", r"\n", ";", "|", ">"]),
        ] {
            let read = CommandLine::read(text).unwrap();
            let found: Vec<&str> =
                std::iter::once(&read.program).chain(&read.arguments).map(String::as_str).collect();
            assert_eq!(found, expected, "{text}");
        }
        for text in ["", "  ", "\"\" a", "a 'b", "'"] {
            assert_eq!(CommandLine::read(text), None, "{text}");
        }
    }
}
