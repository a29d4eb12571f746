"""Words that functions and the runtime share: contract, errors, structs, ports."""
