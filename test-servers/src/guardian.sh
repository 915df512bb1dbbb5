# Holds one server for the test process at the other end of standard input, and outlives that process for just as long
# as it takes to end the server and to remove its folder: whatever ends the test process closes the pipe.
# Arguments: the server's folder, which it makes, and its command. Orders on standard input: start, kill. It answers when
# the folder is there, and each order, with a line.
folder=$1
shift
pid=
starts=0
trap '' PIPE # an answer that nobody reads any more must not end it

mkdir -m 755 -- "$folder" || exit 1 # the server's user has to pass through it
echo made

# Ends every process of the server. PostgreSQL puts each of its children into a session of its own, so that no signal to
# a process group reaches them all; and a stopped parent makes no child that the list would miss.
end() {
    [ -n "$pid" ] || return 0
    kill -s STOP "$pid"
    while read -r _ _ state _ <"/proc/$pid/stat"; do
        case $state in T | t | Z | X) break ;; esac
    done
    children=$(cat "/proc/$pid/task/"*/children)
    kill -s KILL $children "$pid"
    wait "$pid"
    for child in $children; do
        while read -r _ _ state _ <"/proc/$child/stat" && [ "$state" != Z ]; do sleep 0.01; done
    done
    pid=
} 2>/dev/null

while read -r order; do
    case $order in
    start)
        [ -z "$pid" ] || wait "$pid" # it has ended, or nobody would ask: this only takes the zombie away
        starts=$((starts + 1))
        (trap - PIPE && exec setsid "$@") </dev/null >"$folder/log.$starts" 2>&1 &
        pid=$!
        echo "$pid"
        ;;
    kill)
        end
        echo killed
        ;;
    esac
done

end
# PostgreSQL's shared memory segment outlives a kill -9, and the machine has only so many: the seventh line names it.
if [ -f "$folder/data/postmaster.pid" ]; then
    set -- $(sed -n 7p "$folder/data/postmaster.pid")
    ipcrm -m "$2"
fi
# A command of the test process that fills the folder may still run and be in the way for a moment.
tries=0
until rm -rf -- "$folder" || [ "$tries" -ge 600 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
