//! Method names for events, without an allocation for the usual ones.

use std::sync::{Arc, LazyLock};

use http::Method;

/// The longest method name that is copied into events.
const MAX_METHOD_BYTES: usize = 32;

static USUAL: LazyLock<[(Method, Arc<str>); 7]> = LazyLock::new(|| {
    [Method::POST, Method::GET, Method::HEAD, Method::DELETE, Method::PUT, Method::PATCH, Method::OPTIONS]
        .map(|method| {
            let name = Arc::from(method.as_str());
            (method, name)
        })
});

/// The name of a method; an unusual one is cut to [`MAX_METHOD_BYTES`].
pub(crate) fn method_name(method: &Method) -> Arc<str> {
    if let Some((_, name)) = USUAL.iter().find(|(usual, _)| usual == method) {
        return Arc::clone(name);
    }
    let name = method.as_str(); // a token: ASCII
    name.get(..MAX_METHOD_BYTES).unwrap_or(name).into()
}
