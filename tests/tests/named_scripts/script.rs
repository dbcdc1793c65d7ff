//! The script of these tests, which marks that it has run, and options of a group.

use std::path::Path;

use wsgid_tests::TestUser;

/// Says which file it is and as whom it runs; answers every question.
pub(crate) const SCRIPT: &str = "\
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('%s %d' % (os.path.basename(__file__), os.getuid())).encode()]
handle_request = application
def allow_access(environ, host):
    return True
def check_password(environ, user, password):
    return True
def get_realm_hash(environ, user, realm):
    return '0' * 32
def groups_for_user(environ, user):
    return ['staff']
def process_group(environ):
    return None
";

/// A script that leaves a mark when it is executed.
pub(crate) fn marking(mark: &Path) -> String {
    format!(
        "import os\nopen({:?}, 'a').write('%d ' % os.getuid())\n{SCRIPT}",
        mark.display().to_string()
    )
}

pub(crate) fn options(user: &TestUser) -> String {
    format!(
        "user={} group={} processes=1 threads=2",
        user.name, user.group
    )
}
