# Makes a signed DNS tree in the working directory, for dns_tree.rs: the files SERVER/ZONE.zone of the servers
# root, top and leaf at 198.51.100.1 to 198.51.100.3. Prints the public key of the root.
set -e
mkdir keys root top leaf

# Writes a zone with the records of the standard input: SERVER, ZONE.
zone() {
  {
    echo "\$TTL 3600"
    echo "@ SOA $1.servers.example. host.example. 1 7200 3600 86400 1800"
    echo "@ NS $1.servers.example."
    cat
  } >"$1/${2#.}.zone"
}

# Signs a zone with a new key: SERVER, ZONE, algorithm, options of dnssec-signzone. A zone is signed before its parent,
# which gets its DS record.
sign() {
  file=$1/${2#.}.zone
  zone=$2
  dnssec-keygen -q -K keys -a "$3" -f KSK "$zone" >/dev/null
  shift 3
  dnssec-signzone -Q -q -g -z -S -K keys -d keys -o "$zone" -f keys/signed "$@" "$file" >/dev/null
  mv keys/signed "$file" >/dev/null
}

# Names that two zones have; argument: the zone to which the DNAME leads.
records() {
  cat <<RECORDS
www      A     198.51.100.80
www      AAAA  2001:4860::80
www.deep A     198.51.100.81
*.wild   A     198.51.100.82
subtree  DNAME $1
RECORDS
}

zone leaf nsec.example <<RECORDS
$(records nsec3.example.)
alias    CNAME alias.nsec3.example.
out      CNAME www.plain.example.
lost     CNAME absent.nsec3.example.
broken   CNAME www.forged.example.
unsigned NS    leaf.servers.example.
RECORDS
sign leaf nsec.example ECDSAP256SHA256

zone leaf nsec3.example <<RECORDS
$(records nsec.example.)
alias    CNAME www.large.example.
RECORDS
sign leaf nsec3.example ED25519 -3 - -H 0

# The texts do not fit a datagram.
zone leaf large.example <<RECORDS
www      A     198.51.100.83
texts    TXT   $(printf '%0200d ' 1 2 3 4 5 6 7)
RECORDS
sign leaf large.example RSASHA256

for unsigned in plain.example unsigned.nsec.example; do
  zone leaf "$unsigned" <<RECORDS
www      A     198.51.100.84
alias    CNAME www.nsec.example.
RECORDS
done

# Of these one signature is of another address, those of all records but the key's have expired, and the parent's DS is
# of another key.
for broken in forged expired foreign; do
  zone leaf "$broken.example" <<RECORDS
www      A     198.51.100.85
mail     A     198.51.100.86
RECORDS
done
sign leaf forged.example ECDSAP256SHA256
sed -i 's/198\.51\.100\.85/198.51.100.99/' leaf/forged.example.zone
sign leaf expired.example ECDSAP256SHA256 -P -s 20200101000000 -e 20200201000000 -X now+86400
sign leaf foreign.example ECDSAP256SHA256
rm keys/Kforeign.example.*
dnssec-keygen -q -K keys -a ECDSAP256SHA256 -f KSK foreign.example >/dev/null
dnssec-dsfromkey keys/Kforeign.example.*.key >keys/dsset-foreign.example.

zone top example <<RECORDS
root.servers A 198.51.100.1
top.servers  A 198.51.100.2
leaf.servers A 198.51.100.3
$(for name in nsec nsec3 large forged expired foreign plain; do echo "$name NS leaf.servers"; done)
RECORDS
sign top example ECDSAP256SHA256 -3 - -H 0 -A

zone root . <<RECORDS
example             NS top.servers.example.
top.servers.example A  198.51.100.2
RECORDS
sign root . ECDSAP256SHA256
sed -n 's/^.* DNSKEY //p' keys/K.*.key
