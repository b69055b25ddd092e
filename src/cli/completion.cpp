// The shell asks the program itself: --help, the only source, gives commands and options. The kind of an option's value
// in --help (DIR, FILE, a|b) says how to complete it.
#include <iostream>

#include "cli/commands.h"

namespace vlm2vec {
namespace {

constexpr const char* kBash = R"sh(# Completes vlm2vec in bash. To switch it on: source <(./vlm2vec completion bash)
_vlm2vec() {
  local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local command=${COMP_WORDS[1]} first=2 value choices=
  COMPREPLY=()
  if [[ $command == data ]]; then command="data ${COMP_WORDS[2]}" first=3; fi
  if ((COMP_CWORD < first)); then  # the command's own words
    choices=$("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\( [a-z]\+\)\?\)  .*/\1/p')
    if ((COMP_CWORD == 1)); then choices=$(cut -d ' ' -f 1 <<<"$choices" | sort -u)
    else choices=$(sed -n 's/^data //p' <<<"$choices"); fi
  elif [[ $word == -* ]]; then
    choices=$("$program" $command --help | sed -n 's/^  \(-h, \)\?\(--[a-z0-9_]\+\).*/\2/p')
  else
    if [[ $word == = ]]; then word= previous=${COMP_WORDS[COMP_CWORD-1]}  # --option=value is three words
    elif [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi
    value=FILE
    if [[ $previous == --* ]]; then
      value=$("$program" $command --help | sed -n "s/^  ${previous//-/[-_]} \([^ ]*\).*/\1/p" | tr -d '[]')
    fi
    case $value in
      DIR*) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
      FILE*|PATH*) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
      *'|'*) choices=${value//|/$'\n'} ;;
    esac
  fi
  [[ -z $choices ]] || mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}
complete -o filenames -F _vlm2vec vlm2vec
)sh";

}  // namespace

Exit run_completion(const Command& command, const Arguments& arguments) {
  std::vector<std::string> shells;
  CommandLine line(command.name, command.purpose, "completion bash");
  line.words("SHELL", shells, "only bash is supported");
  if (!line.parse(arguments)) return Exit::ok;
  if (shells.size() != 1 || shells[0] != "bash")
    fail(Exit::usage, "completion: got \"", shells[0], "\"", shells.size() > 1 ? " and more" : "", ", expected bash");
  std::cout << kBash;
  return Exit::ok;
}

}  // namespace vlm2vec
