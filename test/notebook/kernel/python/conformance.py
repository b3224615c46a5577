"""jupyter_kernel_test for the kernel `drey`: run by `npm run test:kernel` where Python has the package."""

import unittest

import jupyter_kernel_test


class DreyKernelTests(jupyter_kernel_test.KernelTests):
    kernel_name = "drey"
    language_name = "typescript"
    file_extension = ".ts"
    code_hello_world = "console.log('hello, world')"
    code_stderr = "console.error('oops')"
    code_stdin = "prompt('Name:')"
    code_page_something = "?parseInt"
    code_generate_error = "throw new Error('on purpose')"
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": "'a'.repeat(3)", "result": "'aaa'"},
    ]
    code_display_data = [
        {
            "code": "import { display } from 'drey/notebook'; display([{ a: 1 }])",
            "mime": "text/html",
        }
    ]
    code_history_pattern = "6*7"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "parseInt"
    code_clear_output = "console.clear()"
    completion_samples = [
        {"text": "parse", "matches": {"parseInt", "parseFloat"}},
        {"text": "Math.ma", "matches": {"max"}},
    ]
    complete_code_samples = ["1", "const x = 3", "function f() { return 1 }"]
    incomplete_code_samples = ["const a =", "function f() {", "`half"]
    invalid_code_samples = ["a = = 3", "import = 7q"]


class DreyWelcomeTests(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "drey"
    support_iopub_welcome = True


if __name__ == "__main__":
    unittest.main()
